"""One PostgreSQL and one Valkey per test session, shared by all its workers: a database and a Redis index each.

TEST_DATABASE_URL and TEST_REDIS_URL name servers to use instead; what the latter holds is deleted.
"""

import asyncio
import gc
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psycopg
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from psycopg.sql import SQL, Identifier, Literal
from pydantic import SecretStr
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from deployments.sandbox.environment import settings_environment
from deployments.sandbox.postgres import ANALYST_ROLE, confine_analysts, create_analyst_login, postgres
from deployments.sandbox.shopify.simulator import API_KEY, API_SECRET, Simulator
from deployments.sandbox.valkey import valkey
from tests.support import hypothesis_profiles
from tests.support.aliases import Demo
from tests.support.certificate import write_certificate
from tests.support.demo_data import DemoData, KeptConnection
from tests.support.kept_connections import DatabaseOnKeptConnections, close_kept_connections
from tests.support.recorded_statements import recorded_statements
from tests.support.sql_oracle import Tables
from tests.support.valkey import OwnValkey
from wishcraft import settings as settings_module
from wishcraft.analytics import reader
from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.cache import keys, scripts
from wishcraft.migrations import upgrade
from wishcraft.resources import Resources, open_analysts_database, open_resources
from wishcraft.services.registries import code_hashes
from wishcraft.settings import Settings
from wishcraft.store import shops
from wishcraft.store.shops import ShopRef

pytest_plugins = (
    "tests.support.server_fixtures",
    "tests.support.api_fixtures",
    "tests.support.layouts",
    "tests.support.chosen_files",
)
gc.disable()  # each collection while the test modules are imported would look through all modules: a second in all
WITHOUT_SERVERS: Final = ("tests/domain", "tests/test_architecture.py", "tests/test_docs.py")  # `make test-unit`
PROFILE: Final = hypothesis_profiles.PROFILE
"""Loaded before any test module makes Hypothesis settings of its own."""
GARBAGE_THRESHOLD: Final = 10_000
STARTED_ONCE: Final = ("prefect_server", "browser")
WORKER: Final = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
_servers = ExitStack()


def pytest_configure(config: pytest.Config) -> None:
    """Start the servers in the controller, before it starts its workers, which inherit their URLs."""
    is_worker = hasattr(config, "workerinput")
    if is_worker or config.option.collectonly or all(arg.startswith(WITHOUT_SERVERS) for arg in config.args):
        return
    folder = Path(_servers.enter_context(tempfile.TemporaryDirectory(prefix="wishcraft-tests-")))
    # The tests call servers of this machine only. To load one certificate instead of 150 saves 40 ms per HTTP client.
    os.environ["SSL_CERT_FILE"] = str(write_certificate(folder / "trusted.pem"))
    if "TEST_DATABASE_URL" not in os.environ:
        os.environ["TEST_DATABASE_URL"] = _servers.enter_context(postgres(folder, durable=False))
    os.environ["TEST_REPLICA_URL"] = create_analyst_login(os.environ["TEST_DATABASE_URL"], "")
    os.environ["TEST_APPLICATION_URL"] = create_application_login(os.environ["TEST_DATABASE_URL"])
    if "TEST_REDIS_URL" not in os.environ:
        os.environ["TEST_REDIS_URL"] = _servers.enter_context(valkey(folder, durable=False))
        confine_to_one_database(os.environ["TEST_REDIS_URL"])


def pytest_unconfigure() -> None:
    """Stop what the controller started."""
    _servers.close()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the modules that use a Prefect server or Chromium to the front: mostly one worker runs them all.

    Before them come the long tests: one that begins last runs alone, while the other workers have nothing left.
    """
    users = [{item.path for item in items if name in getattr(item, "fixturenames", ())} for name in STARTED_ONCE]
    items.sort(key=lambda item: [not is_long(item), *(item.path not in modules for modules in users)])


def is_long(item: pytest.Item) -> bool:
    """Whether it is one of the longest tests, with as many examples as it tries here."""
    tries_all = PROFILE == "deep" or item.get_closest_marker("chaos") is not None
    return tries_all and item.get_closest_marker("long") is not None


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Collect garbage from here on, except in what the imports made, which lasts.

    Not after each 700 new objects, as by default: that took 6 % of the tests' time, and most of it found nothing.
    """
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)
    gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what repeats this order of the tests, which `-q` leaves out."""
    seed = getattr(config.option, "randomly_seed", None)
    if seed is not None:
        terminalreporter.write_line(f"The order of the tests: --randomly-seed={seed}")


def confine_to_one_database(redis_url: str) -> None:
    """Refuse the commands that reach into other workers' tests; a test that needs one has a server of its own."""
    beyond = (
        "flushall",
        "swapdb",
        "shutdown",
        "config|set",
        "client|kill",
        "client|pause",
        "script|flush",
        "function|flush",
    )
    with SyncRedis.from_url(redis_url) as client:
        client.execute_command("ACL", "SETUSER", "default", *(f"-{command}" for command in beyond))


def create_application_login(server_url: str) -> str:
    """Create the application's role, which is not a superuser, as in containers and on managed servers; its URL."""
    role, password = "wishcraft_tested", secrets.token_urlsafe(24)
    with psycopg.connect(server_url, autocommit=True) as connection:
        if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone() is None:
            connection.execute(SQL("CREATE ROLE {} LOGIN").format(Identifier(role)))
        connection.execute(SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(role), Literal(password)))
        connection.execute(SQL("GRANT {} TO {}").format(Identifier(ANALYST_ROLE), Identifier(role)))
        # The tests alone restore rows without a check of their keys.
        connection.execute(SQL("GRANT SET ON PARAMETER session_replication_role TO {}").format(Identifier(role)))
    server = urlsplit(server_url)
    return server._replace(netloc=f"{role}:{password}@{server.hostname}:{server.port}").geturl()


@pytest.fixture(scope="session")
def administrator_url() -> Iterator[str]:
    """This worker's own database with the administrator's scripts applied, as a superuser."""
    server = os.environ["TEST_DATABASE_URL"]
    name = f"wishcraft_test_{WORKER}_{os.getpid()}"
    url = urlsplit(server)._replace(path=f"/{name}").geturl()
    owner = str(urlsplit(os.environ["TEST_APPLICATION_URL"]).username)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {} OWNER {}").format(Identifier(name), Identifier(owner)))
        confine_analysts(url)
        yield url
        connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@pytest.fixture(scope="session")
def database_url(administrator_url: str) -> str:
    """The same with the application's login and the current schema; tests roll back or clean up what they write."""
    url = urlsplit(os.environ["TEST_APPLICATION_URL"])._replace(path=urlsplit(administrator_url).path).geturl()
    upgrade(url)
    return url


@pytest.fixture(scope="session")
def redis_url() -> str:
    """This worker's own Redis database."""
    return urlsplit(os.environ["TEST_REDIS_URL"])._replace(path=f"/{WORKER.removeprefix('gw')}").geturl()


@pytest.fixture(scope="session")
def kept_redis(redis_url: str) -> Iterator[SyncRedis]:
    """A connection to this worker's Redis database for all tests: most need none of their own."""
    with SyncRedis.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def redis(redis_url: str, kept_redis: SyncRedis) -> AsyncIterator[Redis]:
    """An empty Redis; a test that leaves a key without a time to live fails, but for the declared exceptions."""
    kept_redis.flushdb()
    async with Redis.from_url(redis_url) as client:
        yield client
    endless = [key.decode() for key in kept_redis.scan_iter() if kept_redis.ttl(key) == -1]
    leaks = [key for key in endless if not any(fnmatchcase(key, pattern) for pattern in keys.WITHOUT_TTL)]
    if leaks:
        pytest.fail(f"these Redis keys would live forever: {', '.join(sorted(leaks))}")


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """An event loop for a test that is not a coroutine."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def resources_of_runner(runner: asyncio.Runner, settings: Settings, demo: Demo) -> Iterator[Resources]:
    """Resources over the demo shops for a test that is not a coroutine; use them with `runner`."""
    context = open_resources(settings, redis_timeout=5)
    yield runner.run(context.__aenter__())
    runner.run(context.__aexit__(None, None, None))


@pytest.fixture
def shop_of_runner(runner: asyncio.Runner, resources_of_runner: Resources) -> ShopRef:
    """As `shop`, for a test that is not a coroutine."""
    return runner.run(find_demo_shop(resources_of_runner))


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[OwnValkey]:
    """A Redis that the test can stop."""
    valkey = OwnValkey(tmp_path)
    yield valkey
    valkey.kill()


@pytest.fixture
def settings(base_settings: Settings) -> Settings:
    """The settings of all other fixtures; a file that needs more overrides it, for instance by `settings_with_mail`."""
    return base_settings


@pytest.fixture(scope="session")
def base_settings(
    database_url: str,
    redis_url: str,
    simulator_server: tuple[str, FastAPI],
    tmp_path_factory: pytest.TempPathFactory,
) -> Settings:
    """Settings that name this worker's stores and the simulator."""
    return Settings(
        database_url=database_url,
        database_replica_url=urlsplit(os.environ["TEST_REPLICA_URL"])
        ._replace(path=urlsplit(database_url).path)
        .geturl(),
        redis_url=redis_url,
        encryption_keys=SecretStr("sVvXkE1HjFMZ3gYRkFyUW6pUoLr8iFqVjQ0sJtT0m4o="),
        shopify_api_key=API_KEY,
        shopify_api_secret=SecretStr(API_SECRET),
        shopify_origin=f"{simulator_server[0]}/{{shop}}",
        files_url=tmp_path_factory.mktemp("files").as_uri(),
        prefect_api_url=None,
        prefect_ui_url="http://127.0.0.1:4200",
    )


@pytest.fixture(scope="session", autouse=True)
def _kept_connections() -> Iterator[None]:
    """Let the pools of `open_resources` leave their connections and engines to those of later tests."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("wishcraft.resources.Database", DatabaseOnKeptConnections)
        yield
    close_kept_connections()


@pytest.fixture(scope="session", autouse=True)
def product_hasher() -> Iterator[PasswordHasher]:
    """The product's hasher of access codes, whose hashes take 20 ms each: some hundred of them would take seconds."""
    hasher = code_hashes._HASHER
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(code_hashes, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        yield hasher


@pytest.fixture(scope="session")
def kept_connection() -> Iterator[KeptConnection]:
    """The connection of one `demo` after the other."""
    kept = KeptConnection()
    yield kept
    kept.close()


@pytest.fixture(scope="session")
def demo_data() -> DemoData:
    """The demo shops with four registries each, to be put back before each test."""
    return DemoData(12, reminders=False)  # no mail has gone out yet


@pytest.fixture(scope="session")
def demo_shops_data() -> DemoData:
    """The same with 120 registries each and their reminders."""
    return DemoData(360, reminders=True)


@pytest.fixture
def demo(
    request: pytest.FixtureRequest,
    settings: Settings,
    simulator: Simulator,
    redis: Redis,
    kept_redis: SyncRedis,
    demo_data: DemoData,
    demo_shops_data: DemoData,
    kept_connection: KeptConnection,
) -> Demo:
    """The demo shops with four registries each, a simulator with the same variants, and a Redis that takes fills.

    With `demo_shops`, the shops have its registries at once. It is a connection in autocommit mode, for queries and
    manual changes.
    """
    key_names, args = scripts.ERA.values([{"era": keys.ERA, "new_era": secrets.token_bytes(8)}])
    kept_redis.eval(scripts.ERA.source, len(key_names), *key_names, *args)
    kept_redis.hset(keys.ERA, "since", "0")  # an era that began long ago: the hold of a new one is over
    connection = kept_connection.open(settings.database_url.replace("+psycopg", ""))
    data = demo_shops_data if "demo_shops" in request.fixturenames else demo_data
    data.restore(connection, settings)
    return connection


@pytest.fixture
async def resources(settings: Settings, demo: Demo) -> AsyncIterator[Resources]:
    """Resources over the demo shops."""
    async with open_resources(settings, redis_timeout=5) as opened:
        yield opened


@pytest.fixture
async def shop(resources: Resources) -> ShopRef:
    """One of the demo shops."""
    return await find_demo_shop(resources)


async def find_demo_shop(resources: Resources) -> ShopRef:
    async with resources.db.repeatable_read() as session:
        return (await shops.find_active(session, ["maple-and-pine.myshopify.com"]))[0]


@pytest.fixture
def queries(resources: Resources) -> Iterator[list[str]]:
    """Every statement that goes to PostgreSQL from here on, in order."""
    with recorded_statements() as statements:
        yield statements


@pytest.fixture
def analysts(settings: Settings) -> Iterator[AnalystsDatabase]:
    """The database as reports read it."""
    with open_analysts_database(settings.database_replica_url) as opened:
        yield opened


@pytest.fixture
def tables(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tables]:
    """The tables themselves, to fill; reports read them in chunks of two registries."""
    monkeypatch.setattr(reader, "REGISTRIES_PER_CHUNK", 2)
    with psycopg.connect(settings.database_url.replace("+psycopg", ""), autocommit=True) as connection:
        yield connection
        connection.execute("TRUNCATE shops, pending_invalidations, webhook_events CASCADE")


@pytest.fixture
def demo_shops(demo: Tables, monkeypatch: pytest.MonkeyPatch) -> Tables:
    """The tables with so many demo registries, and their reminders, that averages tell something."""
    monkeypatch.setattr(reader, "REGISTRIES_PER_CHUNK", 40)
    return demo


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Prefect server with its own database, for flows that are called as functions."""
    from tests.support.prefect_server import running_prefect  # late: Prefect takes two seconds

    with running_prefect(tmp_path_factory.mktemp("prefect")):
        yield


@pytest.fixture
def worker_environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment variables that say what the test's settings say."""
    for name, value in settings_environment(settings).items():
        monkeypatch.setenv(name, value)
    settings_module.settings.cache_clear()
    yield
    settings_module.settings.cache_clear()
