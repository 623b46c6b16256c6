"""The API over the demo shops, in this process, and callers of each kind."""

import gc
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import SimpleNamespace
from urllib.parse import urlencode

import httpx
import jwt
import pytest
from sqlalchemy import make_url

from deployments.sandbox.demo import add_key
from tests.support.aliases import Demo
from tests.support.api import SHOP, Shopper, app_state_of, open_api_client
from tests.support.failing_proxy import FailingProxy
from tests.support.long_timeouts import raise_limits, raise_limits_of_redis
from tests.support.valkey import OwnValkey
from wishcraft.observability.metrics import REQUEST_SECONDS
from wishcraft.settings import Settings
from wishcraft.shopify.signatures import canonical, sign


def pytest_runtest_setup() -> None:
    """Forget the requests of earlier tests: each page of metrics would have, and each API count, thousands of lines."""
    REQUEST_SECONDS.clear()


@pytest.fixture
def records_minutes() -> bool:
    """Whether the API below writes its service level indicators; a file about its end overrides it."""
    return False


@pytest.fixture
def open_client(records_minutes: bool) -> Callable[[Settings], AbstractAsyncContextManager[httpx.AsyncClient]]:
    """Function that opens a client of an API with the given settings."""
    return partial(open_api_client, records_minutes=records_minutes)


@pytest.fixture
def generous_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of time within which PostgreSQL and Redis answer on a busy machine too."""
    raise_limits(monkeypatch.setattr)


@pytest.fixture
def generous_limits_of_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for Redis alone, where a test makes it hang."""
    raise_limits_of_redis(monkeypatch.setattr)


@pytest.fixture
def one_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limiter's clock is stopped, so that no window ends during the test."""
    monkeypatch.setattr("wishcraft.cache.rate_limiter.time", SimpleNamespace(time=lambda: 3e9))


@pytest.fixture
async def client(settings: Settings, demo: Demo, records_minutes: bool) -> AsyncIterator[httpx.AsyncClient]:
    """A client without credentials."""
    async with open_api_client(settings, records_minutes=records_minutes) as client:
        yield client


@pytest.fixture
async def client_on_own_valkey(
    settings: Settings, demo: Demo, own_valkey: OwnValkey
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API whose Redis the test can stop."""
    async with open_api_client(settings.model_copy(update={"redis_url": own_valkey.url})) as client:
        app_state_of(client).resources.cache._hold_seconds = 0
        yield client


@pytest.fixture
def postgresql(settings: Settings) -> Iterator[FailingProxy]:
    """A proxy in front of PostgreSQL, which the test can stall."""
    # SQLAlchemy closes no connection whose set-up is cancelled while PostgreSQL hangs; the garbage collector does.
    warnings.filterwarnings("ignore", ".*AsyncConnection object at .* was deleted while still open", ResourceWarning)
    with FailingProxy(make_url(settings.database_url).port or 0) as proxy:
        yield proxy
    gc.collect()


@pytest.fixture
def through_proxy(settings: Settings, postgresql: FailingProxy) -> Settings:
    """The settings of an API that reaches PostgreSQL through the proxy."""
    urls = {"database_url": settings.database_url, "database_replica_url": settings.database_replica_url}
    moved = {name: make_url(url).set(port=postgresql.port) for name, url in urls.items() if url}
    return settings.model_copy(update={name: url.render_as_string(hide_password=False) for name, url in moved.items()})


@pytest.fixture
def key(demo: Demo) -> dict[str, str]:
    """The headers of a server of `SHOP`."""
    return {"X-API-Key": add_key(demo, 1).key}


@pytest.fixture
def signed(settings: Settings) -> Callable[..., str]:
    """Makes query strings as Shopify's app proxy signs them."""
    secret = settings.shopify_api_secret.get_secret_value()

    def query(shop: str = SHOP, customer_id: int | None = None, at: float | None = None, **others: str) -> str:
        fields = [
            *others.items(),
            ("shop", shop),
            ("logged_in_customer_id", str(customer_id or "")),
            ("path_prefix", "/apps/registry"),
            ("timestamp", str(int(at or time.time()))),
        ]
        return urlencode([*fields, ("signature", sign(canonical(fields), secret))])

    return query


@pytest.fixture
def token(settings: Settings) -> Callable[..., dict[str, str]]:
    """Makes the headers of a merchant in the embedded admin; the secret must be as long as Shopify's."""

    def headers(secret: str | None = None, algorithm: str = "HS256", **claims: object) -> dict[str, str]:
        now = int(time.time())
        said = {
            "iss": f"https://{SHOP}/admin", "dest": f"https://{SHOP}", "aud": settings.shopify_api_key, "sub": "42",
            "iat": now, "nbf": now, "exp": now + 60, "jti": "1", "sid": "2",
        } | claims  # fmt: skip
        shown = jwt.encode(
            {name: value for name, value in said.items() if value is not None},
            "" if algorithm == "none" else secret or settings.shopify_api_secret.get_secret_value(),
            algorithm,
        )
        return {"Authorization": f"Bearer {shown}"}

    return headers


@pytest.fixture
def guest(client: httpx.AsyncClient, signed: Callable[..., str]) -> Shopper:
    """A guest of `SHOP`."""
    return Shopper(client, signed)


@pytest.fixture
def emma(client: httpx.AsyncClient, signed: Callable[..., str]) -> Shopper:
    """A customer of `SHOP` who has no registry yet."""
    return Shopper(client, signed, 7_100_000_000_001)


@pytest.fixture
def hugo(client: httpx.AsyncClient, signed: Callable[..., str]) -> Shopper:
    """Another customer of `SHOP`."""
    return Shopper(client, signed, 7_100_000_000_002)
