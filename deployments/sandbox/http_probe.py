"""Health probe over HTTP."""

import httpx


def responds(url: str, timeout: float = 2) -> bool:
    """Whether a GET of the URL succeeds within `timeout` seconds; never raises."""
    try:
        return httpx.get(url, timeout=timeout, trust_env=False).is_success
    except httpx.HTTPError:
        return False
