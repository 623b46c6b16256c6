"""Environment variables of the stack's processes: the sandbox's settings, isolated from other Prefect servers."""

import os
import socket
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from deployments.local.orphans import STACK_ID_VARIABLE
from deployments.local.services import ADVICE_ON_URL, Ports, shopping_rate
from deployments.local.workspace import Workspace
from deployments.sandbox.mail_providers import SENDGRID_PUBLIC_KEY, TOPIC_ARN, mail_urls
from deployments.sandbox.mailbox import DOMAIN, SELECTOR
from deployments.sandbox.processes import LAST_PORT, ROOT, free_port, port_is_free
from wishcraft.errors import ConfigurationError
from wishcraft.settings import DatabaseSettings, Settings, load
from wishcraft.urls.postgresql import read_postgresql_url

_DEFAULT_PORTS: Final = {"API_PORT": 8000, "PREFECT_PORT": 4200}
_TRIED_PORTS: Final = 100
PREFECT_DATABASE_VARIABLE: Final = "PREFECT_API_DATABASE_CONNECTION_URL"
_ASYNCPG_OPTIONS: Final = {name: name for name in ("host", "port", "target_session_attrs")} | {"sslmode": "ssl"}
"""The options of libpq that asyncpg has, too, and how it calls them."""
_UNUSED_BY_PREFECT: Final = frozenset({"application_name", "client_encoding", "connect_timeout"})
"""Options without which a connection succeeds all the same."""
PREFECT: Final = {  # as in the image: see deployments/container/Dockerfile
    "DO_NOT_TRACK": "1",
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_LOGGING_COLORS": "false",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "wishcraft",  # shows the core's logs in the run's logs
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # Poll interval of a run that waits for a concurrency slot; the default is 30 s.
    "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "3",
    # One day more than the default retention of `cleanup-logs`, which deletes and reports; a safety net if it fails.
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(31 * 86_400),
    # The default, one row per insert, limits the server to about 35 task runs per second.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_WORKER_QUERY_SECONDS": "0.5",
}


def ports_from_environment(command: str, defaults: Mapping[str, int] = _DEFAULT_PORTS) -> tuple[int, int]:
    """The ports in the variables API_PORT and PREFECT_PORT, or their defaults.

    Raises:
        ConfigurationError: A value is not a port number, both are equal, or ports are in use: the message has `command`
            with free ones.
    """
    ports = {variable: _port(variable, default) for variable, default in defaults.items()}
    if len({*ports.values()}) < len(ports):
        raise ConfigurationError(f"{' and '.join(ports)} are both {ports['API_PORT']}: change one of them")
    taken = {variable: port for variable, port in ports.items() if not port_is_free(port)}
    if taken:
        free = dict(ports)
        for variable, port in taken.items():
            free[variable] = _free_above(port, but={*ports.values(), *free.values()})
        shown = " ".join(f"{name}={port}" for name, port in free.items() if name in taken or name in os.environ)
        used = " and ".join(f"port {port} is in use" for port in taken.values())
        raise ConfigurationError(f"{used}: choose another, e.g. `{shown} {command}`")
    return ports["API_PORT"], ports["PREFECT_PORT"]


def _port(variable: str, default: int) -> int:
    text = os.environ.get(variable) or str(default)
    if not text.isdecimal() or not 0 < int(text) <= LAST_PORT:
        raise ConfigurationError(f"{variable} must be a port number, not {text!r}")
    return int(text)


def _free_above(port: int, but: set[int]) -> int:
    above = range(port + 1, min(port + _TRIED_PORTS, LAST_PORT) + 1)
    return next((each for each in above if each not in but and port_is_free(each)), None) or free_port()


class Stores(NamedTuple):
    """URLs of PostgreSQL (for the application and for analysts) and Redis."""

    database_url: str
    replica_url: str | None
    redis_url: str


def check_settings(workspace: Workspace, stack_id: str, ports: Ports) -> None:
    """Check the settings of all processes of the stack, before one of them starts.

    Raises:
        ConfigurationError: Variables are invalid; the message names all of them.
    """
    stores = Stores(
        os.environ.get("DATABASE_URL") or "postgresql://127.0.0.1/wishcraft",
        os.environ.get("DATABASE_REPLICA_URL"),
        os.environ.get("REDIS_URL") or "redis://127.0.0.1",
    )
    load(DatabaseSettings, {"DATABASE_URL": stores.database_url})  # first: that of Prefect is made of it
    shopping_rate(os.environ)
    _check_api_host(load(Settings, child_environment(workspace, stack_id, ports, stores)).api_host)


def _check_api_host(host: str) -> None:
    """Refuse an address at which the API does not answer the other parts, which call it at 127.0.0.1."""
    try:
        addresses = {each[4][0] for each in socket.getaddrinfo(host, None, socket.AF_INET)}
    except OSError:
        addresses = set()
    if not addresses & {"127.0.0.1", "0.0.0.0"}:  # noqa: S104  the address of all interfaces
        raise ConfigurationError(f"API_HOST must be 127.0.0.1, or 0.0.0.0 for all addresses, not {host!r}")


def child_environment(workspace: Workspace, stack_id: str, ports: Ports, stores: Stores) -> dict[str, str]:
    """All environment variables of a child process.

    PREFECT_* variables of the calling shell are dropped, because they name another server. Only
    PREFECT_API_AUTH_STRING is kept: it replaces the generated password of the stack's own server.
    """
    password = prefect_password(workspace, os.environ)
    prefect = f"http://127.0.0.1:{ports.prefect}"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return (
        inherited
        | workspace.secrets()
        | PREFECT
        | ({"DATABASE_REPLICA_URL": stores.replica_url} if stores.replica_url else {})
        | ({"MONITORING_URL": f"http://127.0.0.1:{ports.monitoring.page}"} if ports.monitoring else {})
        | {
            STACK_ID_VARIABLE: stack_id,
            "ALERT_WEBHOOK_URL": f"http://127.0.0.1:{ports.mailbox}/alerts",
            "API_PORT": str(ports.api),
            "MAILBOX_URL": f"http://127.0.0.1:{ports.mailbox}",
            "MAIL_FROM": f"registry@{DOMAIN}",
            "BOUNCE_ADDRESS": f"bounces@{DOMAIN}",
            "BOUNCE_URL": f"lmtp://127.0.0.1:{ports.bounces}",
            "SES_TOPIC_ARNS": TOPIC_ARN,
            "SNS_ORIGIN": f"http://127.0.0.1:{ports.mailbox}",
            "SENDGRID_WEBHOOK_KEY": SENDGRID_PUBLIC_KEY,
            "DKIM_SELECTORS": SELECTOR,
            "DNS_SERVER": f"127.0.0.1:{ports.dns}",
            "DATABASE_URL": stores.database_url,
            "FILES_URL": (workspace.folder / "files").absolute().as_uri(),
            "LOG_FORMAT": os.environ.get("LOG_FORMAT") or "text",  # read by people, although in a file
            "DRAIN_SECONDS": "0",  # no load balancer in front
            "OPS_EMAIL": f"ops@{DOMAIN}",
            "PREFECT_API_AUTH_STRING": password,
            "PREFECT_API_SSL_CERT_FILE": str(ROOT / "deployments/no_authority.pem"),  # it says why
            "PREFECT_API_URL": f"{prefect}/api",
            "PREFECT_HOME": str(workspace.folder / "prefect"),
            "PREFECT_PROFILES_PATH": str(workspace.folder / "prefect" / "profiles.toml"),
            "PREFECT_SERVER_API_AUTH_STRING": password,
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": prefect,
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": prefect_database(stores.database_url, os.environ),
            "PREFECT_UI_URL": f"{prefect}/v2",  # the version of Prefect's UI in its own links
            "PUBLIC_URL": f"http://127.0.0.1:{ports.api}",
            "no_proxy": _unproxied(os.environ),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "REDIS_URL": stores.redis_url,
            "RUNBOOK_URL": f"http://127.0.0.1:{ports.api}/runbooks",
            "TRUSTED_PROXIES": "shopify",  # the simulator's proxy forwards the addresses of guests
            "TMPDIR": str(workspace.temporary),  # /tmp/runner_storage is not writable for a second user
            "SHOPIFY_ORIGIN": f"http://127.0.0.1:{ports.shopify}/{{shop}}",
            "MAIL_URL": choose_mail_url(os.environ, ports),
            "START_PAGE": str(workspace.stack_info.absolute()),
        }
    )


def _unproxied(environment: Mapping[str, str]) -> str:
    """The hosts that clients call without HTTP_PROXY: those of the shell, and this machine."""
    hosts = environment.get("no_proxy") or environment.get("NO_PROXY")
    return f"{hosts},127.0.0.1" if hosts else "127.0.0.1"


def choose_mail_url(environment: Mapping[str, str], ports: Ports) -> str:
    """MAIL_URL of the stack's processes: of the mail server, or of the simulated provider that MAIL_PROVIDER names.

    Raises:
        ConfigurationError: It names none.
    """
    name = environment.get("MAIL_PROVIDER") or "smtp"
    urls = {"smtp": f"smtp://127.0.0.1:{ports.smtp}", **mail_urls(f"http://127.0.0.1:{ports.mailbox}")}
    if name not in urls:
        raise ConfigurationError(f"MAIL_PROVIDER must be {', '.join(urls)}, not {name!r}")
    return urls[name]


def prefect_password(workspace: Workspace, environment: Mapping[str, str]) -> str:
    """The login of the stack's Prefect as `user:password`: PREFECT_API_AUTH_STRING, or the generated one."""
    return environment.get("PREFECT_API_AUTH_STRING") or workspace.prefect_password()


def prefect_database(database_url: str, environment: Mapping[str, str]) -> str:
    """URL of Prefect's database: PREFECT_API_DATABASE_CONNECTION_URL, or `prefect` on the same server.

    Raises:
        ConfigurationError: The variable is not the URL of a database that Prefect can use; or it is not set, and the
            URL of the server has an option without which asyncpg may not reach it.
    """
    if named := environment.get(PREFECT_DATABASE_VARIABLE):
        _check_prefect_database(named)
        return named
    url = urlsplit(read_postgresql_url(database_url))
    options = {name: value for name, value in parse_qsl(url.query) if name not in _UNUSED_BY_PREFECT}
    if unknown := sorted(options.keys() - _ASYNCPG_OPTIONS.keys()):
        raise ConfigurationError(
            f"Prefect's driver asyncpg does not know {', '.join(unknown)} of DATABASE_URL: set"
            " PREFECT_API_DATABASE_CONNECTION_URL to the URL of a database for Prefect (postgresql+asyncpg://…)"
        )
    query = urlencode({_ASYNCPG_OPTIONS[name]: value for name, value in options.items()})
    return f"postgresql+asyncpg://{url.netloc}/prefect{query and f'?{query}'}"  # urllib drops the // without a host


def _check_prefect_database(url: str) -> None:
    """Refuse what Prefect could not use; the message has no value, which may be a password."""
    try:
        found = make_url(url)
        is_valid = found.drivername in {"postgresql+asyncpg", "sqlite+aiosqlite"} and found.database
    except (ArgumentError, ValueError):  # the latter: a port
        is_valid = False
    if not is_valid:
        raise ConfigurationError(
            f"{PREFECT_DATABASE_VARIABLE} must look like postgresql+asyncpg://user:password@host/prefect or"
            " sqlite+aiosqlite:////folder/prefect.db; unset it, and Prefect has a database in the stack's PostgreSQL"
        )


def create_databases(server_url: str, names: tuple[str, ...]) -> None:
    """Create the missing databases of `names`; `server_url` may name any database of the server.

    Raises:
        ConfigurationError: The server cannot be reached or refuses.
    """
    server = read_postgresql_url(server_url).replace("+psycopg", "", 1)  # libpq knows no drivers
    advice = ADVICE_ON_URL
    try:
        with psycopg.connect(server, autocommit=True, connect_timeout=5) as connection:
            rows = connection.execute("SELECT datname FROM pg_database").fetchall()
            advice = f"create these databases by hand if missing: {', '.join(names)}"
            for name in sorted(set(names) - {row[0] for row in rows}):
                connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
    except psycopg.Error as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"cannot use the server of DATABASE_URL: {reason}; {advice}") from error
