"""REDIS_URL."""

import re
import ssl
from collections.abc import Mapping
from typing import Final

from wishcraft.urls.parts import (
    FLAG,
    NUMBER,
    POSITIVE,
    SECONDS,
    TEXT,
    Option,
    UrlError,
    one_of,
    read_options,
    split_url,
)

_EXAMPLE: Final = "redis://localhost:6379/0, rediss://… or unix:///path/of/socket"
_VERIFY_FLAG: Final = "|".join(ssl.VerifyFlags.__members__)
_VERIFY_FLAGS: Final = Option(
    "names such as VERIFY_X509_STRICT, comma-separated", f"(?:{_VERIFY_FLAG})(?:,(?:{_VERIFY_FLAG}))*"
)
_EVERYWHERE: Final = {
    "client_name": TEXT,
    "db": NUMBER,
    "health_check_interval": NUMBER,
    "max_connections": POSITIVE,
    "password": TEXT,
    "protocol": one_of("2", "3"),
    "retry_on_timeout": FLAG,
    "socket_connect_timeout": SECONDS,
    "socket_read_size": POSITIVE,
    "socket_timeout": SECONDS,
    "timeout": SECONDS,
    "username": TEXT,
}
_TCP: Final = _EVERYWHERE | {"socket_keepalive": FLAG}
_TLS: Final = _TCP | {
    "ssl_ca_certs": TEXT,
    "ssl_ca_data": TEXT,
    "ssl_ca_path": TEXT,
    "ssl_cert_reqs": one_of("none", "optional", "required"),
    "ssl_certfile": TEXT,
    "ssl_check_hostname": FLAG,
    "ssl_ciphers": TEXT,
    "ssl_exclude_verify_flags": _VERIFY_FLAGS,
    "ssl_include_verify_flags": _VERIFY_FLAGS,
    "ssl_keyfile": TEXT,
    "ssl_min_version": one_of(*(str(int(version)) for version in ssl.TLSVersion if version > 0)),
    "ssl_password": TEXT,
}
OPTIONS: Final[Mapping[str, Mapping[str, Option]]] = {"redis": _TCP, "rediss": _TLS, "unix": _EVERYWHERE}
"""Options of redis-py that change neither the form of replies nor the class of connections, by scheme."""


def read_redis_url(url: str) -> str:
    """The URL unchanged.

    Raises:
        UrlError: It is another URL, or a part of it is wrong.
    """
    parts = split_url(url, _EXAMPLE)
    if parts.scheme not in OPTIONS:
        raise UrlError(_EXAMPLE, "it does not begin so")
    if parts.scheme == "unix":
        if parts.hostname or parts.path in {"", "/"}:
            raise UrlError(_EXAMPLE, "it names no absolute path")
    elif not re.fullmatch("/?[0-9]{0,9}", parts.path):
        raise UrlError(_EXAMPLE, "its database is not a number")
    read_options(parts.query, OPTIONS[parts.scheme], _EXAMPLE)
    return url
