"""DATABASE_URL and DATABASE_REPLICA_URL."""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote

from wishcraft.urls.parts import (
    BAD_HOST,
    BAD_PORT,
    LAST_PORT,
    NOT_ENCODED,
    NUMBER,
    TEXT,
    Option,
    UrlError,
    is_host,
    is_printable,
    one_of,
    read_options,
)

_EXAMPLE: Final = "postgresql://user:password@host:5432/wishcraft"
# As SQLAlchemy reads it: a password may have `/`, `?` and `#`.
_URL: Final = re.compile(
    r"postgres(?:ql)?(?:\+\w+)?://(?:(?P<login>[^@]*)@)?(?P<place>(?P<host>\[[^\]/?]+\]|[^:/?\[\]]*)(?::(?P<port>[^/?]*))?"
    r"(?:/(?P<database>[^?]*))?(?:\?(?P<query>.*))?)",
    re.DOTALL,
)
_TLS_VERSION: Final = one_of("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_SWITCH: Final = one_of("0", "1")
OPTIONS: Final[dict[str, Option]] = {
    "application_name": TEXT,
    "channel_binding": one_of("disable", "prefer", "require"),
    "client_encoding": TEXT,
    "connect_timeout": NUMBER,
    "dbname": TEXT,
    "fallback_application_name": TEXT,
    "gssdelegation": _SWITCH,
    "gssencmode": one_of("disable", "prefer", "require"),
    "gsslib": one_of("gssapi", "sspi"),
    "host": TEXT,
    "hostaddr": TEXT,
    "keepalives": _SWITCH,
    "keepalives_count": NUMBER,
    "keepalives_idle": NUMBER,
    "keepalives_interval": NUMBER,
    "krbsrvname": TEXT,
    "load_balance_hosts": one_of("disable", "random"),
    "options": TEXT,
    "passfile": TEXT,
    "password": TEXT,
    "port": Option("one port, or several with commas between them", "[0-9]{1,5}(?:,[0-9]{1,5})*"),
    "require_auth": TEXT,
    "requirepeer": TEXT,
    "service": TEXT,
    "ssl_max_protocol_version": _TLS_VERSION,
    "ssl_min_protocol_version": _TLS_VERSION,
    "sslcert": TEXT,
    "sslcertmode": one_of("disable", "allow", "require"),
    "sslcompression": _SWITCH,
    "sslcrl": TEXT,
    "sslcrldir": TEXT,
    "sslkey": TEXT,
    "sslmode": one_of("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": one_of("postgres", "direct"),
    "sslpassword": TEXT,
    "sslrootcert": TEXT,
    "sslsni": _SWITCH,
    "target_session_attrs": one_of("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
    "tcp_user_timeout": NUMBER,
    "user": TEXT,
}
"""Options of libpq that an application may need."""
_HOSTS: Final = frozenset({"host", "port"})
_BAD_PLACES: Final = "its hosts and ports do not look like host=a,b&port=1,2 or host=a:1&host=b:2 among its options"
_NOT_ENCODED: Final = re.compile("%(?![0-9A-Fa-f]{2})")
"""A percent sign that is not encoded: libpq refuses the value, and quotes it in its message."""
_HOST_AND_PORT: Final = re.compile("[A-Za-z0-9.-]+:[0-9]*")
_USUAL_PORT: Final = "5432"


def read_postgresql_url(url: str) -> str:
    """The URL with psycopg 3 as its driver, and as libpq needs it: the login percent-encoded, all hosts in one option.

    Accepts `postgres://`, `postgresql://` and other drivers.

    Raises:
        UrlError: It is another URL, or a part of it is wrong.
    """
    parts = _URL.fullmatch(url)
    if not parts:
        raise UrlError(_EXAMPLE, "it does not begin so")
    places = f"{parts['host']}{parts['port'] or ''}{parts['database'] or ''}{parts['query'] or ''}"
    if "@" in places:
        raise UrlError(_EXAMPLE, NOT_ENCODED)
    if "%" in parts["host"] and "[" not in parts["host"]:  # libpq would decode it, and SQLAlchemy does not
        raise UrlError(_EXAMPLE, "its host is percent-encoded: the folder of a socket goes into the option host")
    if not all(map(is_host, parts["host"].strip("[]").split(","))):
        raise UrlError(_EXAMPLE, BAD_HOST)
    port, query = parts["port"], parts["query"] or ""
    if port is not None and not _is_port(port):
        raise UrlError(_EXAMPLE, _BAD_PLACES if "," in port else BAD_PORT)
    if not is_printable(places) or _NOT_ENCODED.search(query):
        raise UrlError(_EXAMPLE, NOT_ENCODED)
    if "%00" in url:  # it would end what libpq gets, and so drop what follows, such as sslmode
        raise UrlError(_EXAMPLE, "it has a null character")
    read_options(query, OPTIONS, _EXAMPLE, repeatable=_HOSTS)
    if not _has_hosts(query):
        raise UrlError(_EXAMPLE, BAD_HOST)
    if not _has_places(query):
        raise UrlError(_EXAMPLE, _BAD_PLACES)
    login = "" if parts["login"] is None else f"{_encode_login(parts['login'])}@"
    address, mark, _ = parts["place"].partition("?")
    return f"postgresql+psycopg://{login}{address}{mark}{_join_places(query)}"


def with_defaults(url: str, defaults: Mapping[str, Any], options: str) -> dict[str, Any]:
    """Arguments of a driver beside the URL: the defaults of what the URL does not say, and `options` after its own.

    Args:
        url: As `read_postgresql_url` returns it.
        defaults: Of options such as `connect_timeout`.
        options: Settings of a session, which count whatever the URL says.
    """
    parts = _URL.fullmatch(url)
    said = dict(parse_qsl(parts["query"] or "")) if parts else {}
    left = {name: value for name, value in defaults.items() if name not in said}
    return left | {"options": f"{said.get('options', '')} {options}".lstrip()}


def _encode_login(login: str) -> str:
    """`user:password` with the characters encoded that SQLAlchemy takes as they are: `/`, `?`, `#`, `[` and `%`."""
    return ":".join([quote(unquote(part), safe="!$&'()*+,;=") for part in login.split(":", 1)])


def _has_hosts(query: str) -> bool:
    """Whether the hosts among the options are names, addresses or sockets."""
    hosts = [host for name, value in parse_qsl(query) if name == "host" for host in value.split(",")]
    return all(host.startswith(("/", "@")) or is_host(host.partition(":")[0]) for host in hosts)


def _has_places(query: str) -> bool:
    """Whether the hosts and the ports among the options, if there are any, are such as SQLAlchemy and libpq take."""
    options = parse_qsl(query)
    hosts = [value for name, value in options if name == "host"]
    ports = [port for name, value in options if name == "port" for port in value.split(",")]
    if len(hosts) > 1 or any(map(_HOST_AND_PORT.fullmatch, hosts)):
        if ports or any("," in host or host.count(":") > 1 for host in hosts):
            return False
        ports = [port for _, _, port in (host.partition(":") for host in hosts) if port]
    else:
        names = "".join(hosts).split(",")
        if len(ports) not in {0, len(names)} or any(name.count(":") == 1 and name[0] != "/" for name in names):
            return False
    return all(map(_is_port, ports))


def _join_places(query: str) -> str:
    """The options with `host=a,b&port=1,2` for `host=a:1&host=b:2`, which SQLAlchemy takes; libpq would take the last.

    Several hosts get their ports, which asyncpg needs.
    """
    options = parse_qsl(query)
    hosts, ports = ([value for each, value in options if each == name] for name in ("host", "port"))
    if len(hosts) > 1 or any(map(_HOST_AND_PORT.fullmatch, hosts)):
        pairs = [host.partition(":") for host in hosts]
        hosts, ports = [host for host, _, _ in pairs], [port or _USUAL_PORT for _, _, port in pairs]
    elif not ports and "," in "".join(hosts):
        ports = [_USUAL_PORT for _ in hosts[0].split(",")]
    places = [f"{name}={quote(','.join(each), '/:,')}" for name, each in (("host", hosts), ("port", ports)) if each]
    return "&".join([*places, *(each for each in query.split("&") if unquote(each.partition("=")[0]) not in _HOSTS)])


def _is_port(text: str) -> bool:
    return re.fullmatch("[0-9]{1,5}", text) is not None and 0 < int(text) <= LAST_PORT
