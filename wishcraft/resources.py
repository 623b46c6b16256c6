"""Builds all clients, for the API and for jobs.

The timeouts of HTTP clients are set here, other limits in the modules of the clients: CONTRIBUTING.md lists them.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Final

import httpx

from wishcraft.cache.bulk_signals import BulkSignals
from wishcraft.cache.client import Server, connect
from wishcraft.cache.counters import Counters
from wishcraft.cache.rate_limiter import Limiter
from wishcraft.cache.registries import RegistryCache
from wishcraft.cache.sessions import SessionCache
from wishcraft.cache.usage import UsageCounters
from wishcraft.cache.variants import VariantCache
from wishcraft.errors import ConfigurationError
from wishcraft.files import FileStore
from wishcraft.mail.mailer import Mailer
from wishcraft.mail.providers.sendgrid import SendGridMailer
from wishcraft.mail.providers.smtp import SmtpMailer
from wishcraft.settings import Settings, analysts_url
from wishcraft.settings import settings as from_environment
from wishcraft.shopify.client import ShopifyClient
from wishcraft.store.engine import Database
from wishcraft.store.replica import Replica, find_replica_url
from wishcraft.store.tokens import TokenVault
from wishcraft.urls.mail import SendGridAccount, SesAccount, read_mail_url

if TYPE_CHECKING:
    from wishcraft.analytics.database import AnalystsDatabase


_ANNOUNCING: Final = 4
_MAIL_API_TIMEOUT: Final = httpx.Timeout(30, connect=5)
MAX_SLOW_WRITES: Final = 4
AfterWrite = Callable[[int, Mapping[str, int]], Awaitable[None]]
"""Called after each committed write with the shop's id and the new versions by slug."""


@dataclass(frozen=True, slots=True)
class Resources:
    """The clients that requests and tasks use. They connect on first use."""

    db: Database
    announcements: Database
    """A pool of its own for pending invalidations: a writer needs it while it holds a connection of `db`, and it must
    answer while all of those are in use."""
    replica: Replica | None
    """None without a replica that the application may read."""
    redis: Server
    cache: RegistryCache
    variants: VariantCache
    sessions: SessionCache
    usage: UsageCounters
    counters: Counters
    limiter: Limiter
    http: httpx.AsyncClient
    tokens: TokenVault
    shopify: ShopifyClient
    mailer: Mailer
    files: FileStore
    bulk_signals: BulkSignals
    shopify_origin: str
    """Where the pages of shops are, with `{shop}` for the domain: share links lead there."""
    slow_writes: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_SLOW_WRITES))
    """Writes that wait while Redis does not answer: they must leave connections of `db` to the readers."""
    after_write: AfterWrite | None = None
    """None while no feature subscribes to changes."""


@asynccontextmanager
async def open_resources(
    settings: Settings | None = None, *, redis_timeout: float = 0.5, redis_circuit_breaker: bool = False
) -> AsyncIterator[Resources]:
    """Open the resources, and close them at the end of the block.

    Args:
        settings: The environment's by default.
        redis_timeout: Seconds: short for requests, longer for jobs, which read large responses.
        redis_circuit_breaker: Stop calling a Redis that does not answer, so that requests do not wait for it.

    Raises:
        ConfigurationError: A setting is wrong; the message names it and the remedy.
    """
    settings = settings or from_environment()
    async with AsyncExitStack() as stack:
        db = Database(settings.database_url)
        stack.push_async_callback(db.close)
        announcements = Database(settings.database_url, pool_size=_ANNOUNCING)
        stack.push_async_callback(announcements.close)
        replica = _open_replica(settings, announcements)
        if replica:
            stack.push_async_callback(replica.close)
        redis = connect(
            settings.redis_url, settings.redis_password, timeout=redis_timeout, with_breaker=redis_circuit_breaker
        )
        stack.push_async_callback(redis.close)
        counters = Counters(redis)
        stack.push_async_callback(counters.flush)
        mailer = _make_mailer(settings)
        stack.push_async_callback(mailer.close)
        bulk_signals = BulkSignals(redis)
        http = await stack.enter_async_context(_http_client())
        tokens = TokenVault(db, settings.encryption_keys)
        yield Resources(
            db=db,
            announcements=announcements,
            replica=replica,
            redis=redis,
            cache=RegistryCache(redis, counters=counters),
            variants=VariantCache(redis),
            sessions=SessionCache(redis),
            usage=UsageCounters(redis),
            counters=counters,
            limiter=Limiter(redis),
            http=http,
            tokens=tokens,
            shopify=_make_shopify_client(settings, http, tokens, counters, bulk_signals),
            mailer=mailer,
            files=open_files(settings),
            bulk_signals=bulk_signals,
            shopify_origin=settings.shopify_origin,
        )


def _http_client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=httpx.Timeout(10, connect=5), verify=_trusted_authorities())


@cache
def _trusted_authorities() -> ssl.SSLContext:
    """Kept: the list of authorities takes 20 ms to read and is always the same, and a run opens its clients twice."""
    return httpx.create_ssl_context()


def _make_shopify_client(
    settings: Settings, http: httpx.AsyncClient, tokens: TokenVault, counters: Counters, bulk_signals: BulkSignals
) -> ShopifyClient:
    return ShopifyClient(
        http,
        tokens,
        origin=settings.shopify_origin,
        api_version=settings.shopify_api_version,
        api_key=settings.shopify_api_key,
        api_secret=settings.shopify_api_secret.get_secret_value(),
        count=counters.count,
        wait_for_bulk=bulk_signals.wait,
    )


def _make_mailer(settings: Settings) -> Mailer:
    """The provider that MAIL_URL names. botocore is imported only for SES: it takes a tenth of a second."""
    provider = read_mail_url(settings.mail_url) if settings.mail_url else None
    if isinstance(provider, SesAccount):
        from wishcraft.mail.providers.ses import SesMailer

        return SesMailer(provider, settings.mail_from, _MAIL_API_TIMEOUT)
    if isinstance(provider, SendGridAccount):
        return SendGridMailer(provider, settings.mail_from, _MAIL_API_TIMEOUT)
    return SmtpMailer(provider, settings.mail_from, bounce_address=settings.bounce_address)


def _open_replica(settings: Settings, primary: Database) -> Replica | None:
    url = find_replica_url(settings.database_url, settings.database_replica_url)
    max_lag_seconds = settings.database_replica_max_lag_seconds
    return Replica(url, primary, max_lag_seconds) if url and max_lag_seconds else None


def open_files(settings: Settings) -> FileStore:
    """The files of FILES_URL, for those who need no other client: they hold nothing open."""
    return FileStore(settings.files_url)


@contextmanager
def open_analysts_database(url: str | None = None) -> "Iterator[AnalystsDatabase]":
    """Open the database that reports read, by default DATABASE_REPLICA_URL or DATABASE_URL, and close it at the end.

    Raises:
        ConfigurationError: Neither DATABASE_REPLICA_URL nor DATABASE_URL is set, or it is malformed.
    """
    from wishcraft.analytics.database import AnalystsDatabase

    try:
        database = AnalystsDatabase(url or analysts_url())
    except ConfigurationError as error:
        remedy = "Set DATABASE_REPLICA_URL to the database that reports read; docs/analysts.md shows how."
        raise ConfigurationError(f"{remedy} ({error})") from None
    try:
        yield database
    finally:
        database.close()
