"""Reasons why a store or Prefect cannot be used, in words for /health: without hosts, users and secrets. Pure."""

import re
from typing import Final

import httpx

UNKNOWN: Final = "does not answer, or refuses the connection"
LOGIN: Final = "refuses the login: check user and password"
HOST: Final = "cannot be found: check the name of its host"
DATABASE: Final = "has no such database: check its name or number"
TLS: Final = "fails to agree on TLS: check the options of the connection"
_CAUSES: Final = {
    re.compile(pattern): meaning
    for pattern, meaning in {
        'password authentication failed|no password supplied|no pg_hba.conf entry|role ".*" does not exist': LOGIN,
        "AuthenticationError|NOAUTH|WRONGPASS": LOGIN,
        "failed to resolve host|[Nn]ame or service not known|nodename nor servname|name resolution": HOST,
        "No address associated with hostname": HOST,
        'database ".*" does not exist|DB index is out of range': DATABASE,
        "server does not support SSL|certificate verify failed|SSL error|SSLError": TLS,
    }.items()
}
"""Messages of drivers and servers, with their meaning."""
_REFUSED: Final = {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}


def say_why(error: Exception) -> str:
    """The cause, if it is one that a person has to mend; otherwise `UNKNOWN`, as in an outage."""
    if isinstance(error, httpx.HTTPStatusError) and error.response.status_code in _REFUSED:
        return LOGIN
    text = str(error)
    return next((meaning for pattern, meaning in _CAUSES.items() if pattern.search(text)), UNKNOWN)
