"""Health probe over HTTP, of servers on this machine."""

import ssl
from typing import Final

import httpx

_NO_AUTHORITY: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""httpx would read the list of trusted authorities for each probe, which takes 20 ms of CPU and is for https alone."""


def responds(url: str, timeout: float = 2) -> bool:
    """Whether a GET of the http:// URL succeeds within `timeout` seconds; never raises."""
    try:
        return httpx.get(url, timeout=timeout, trust_env=False, verify=_NO_AUTHORITY).is_success
    except httpx.HTTPError:
        return False
