"""HTTP requests of the benchmark: public registries, callers of each kind, and the request texts."""

import random
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import orjson
from psycopg import Connection

from deployments.sandbox.demo import add_key
from wishcraft.domain.cached_registry import AccessLevel, access_level
from wishcraft.domain.registries import RegistryStatus, Visibility
from wishcraft.settings import Settings
from wishcraft.shopify.signatures import canonical, sign

KEYS: Final = 30
SIGNED: Final = 51
"""Signed queries, over all shops: a guest's page repeats its requests with the same signature."""
_FIRST_CUSTOMER: Final = 9_000_000_000_000
_LISTED: Final = 20
_SIGNED_SECONDS: Final = 60

_TARGETS: Final = """
SELECT r.shop_id, s.domain, r.id, r.slug, r.visibility, r.status
FROM registries r JOIN shops s ON s.id = r.shop_id ORDER BY r.id
"""


class Target(NamedTuple):
    """A public registry."""

    shop_id: int
    domain: str
    registry_id: int
    slug: str

    @property
    def path(self) -> str:
        """Path of the registry."""
        return f"/api/registries/{self.slug}"


@dataclass(frozen=True)
class RequestFactory:
    """Builds request texts, one per target unless a method says otherwise."""

    targets: Sequence[Target]
    keys: dict[int, list[str]]
    """API keys by shop."""
    secret: str

    def by_key(self) -> list[str]:
        """Reads with an API key."""
        return [request("GET", each.path, self._key(each, n)) for n, each in enumerate(self.targets)]

    def signed_paths(self) -> list[str]:
        """The targets' paths with signed queries, which are valid for some minutes."""
        domains = sorted({each.domain for each in self.targets})
        per_shop = SIGNED // len(domains)
        queries = {domain: self._queries(domain, per_shop) for domain in domains}
        return [f"{each.path}?{queries[each.domain][n % per_shop]}" for n, each in enumerate(self.targets)]

    def signed(self) -> list[str]:
        """Reads by customers, as a browser repeats them."""
        return [request("GET", path) for path in self.signed_paths()]

    def newly_signed(self, count: int) -> list[str]:
        """Reads by customers, as Shopify's app proxy forwards them: each has a signature of its own."""
        targets, now = [self.targets[n % len(self.targets)] for n in range(count)], int(time.time())
        queries = (
            signed_query(each.domain, _FIRST_CUSTOMER + n % SIGNED, now - n % _SIGNED_SECONDS, self.secret, n=str(n))
            for n, each in enumerate(targets)
        )
        return [request("GET", f"{each.path}?{query}") for each, query in zip(targets, queries, strict=True)]

    def conditional(self, etags: Sequence[str]) -> list[str]:
        """Conditional reads by guests with these entity tags."""
        paths = self.signed_paths()
        return [request("GET", path, {"If-None-Match": etag}) for path, etag in zip(paths, etags, strict=True)]

    def absent(self) -> list[str]:
        """Reads of registries that do not exist."""
        paths = [path.replace("?", f"-{n}?", 1) for n, path in enumerate(self.signed_paths()[:KEYS])]
        return [request("GET", path) for path in paths]

    def wrongly_signed(self) -> list[str]:
        """Reads with made-up signatures, each another one."""
        queries = [path.partition("signature=")[0] for path in self.signed_paths()]
        return [request("GET", f"{query}signature={secrets.token_hex(32)}") for query in queries]

    def made_up_keys(self) -> list[str]:
        """Reads with made-up keys, each another one, whose checksum is wrong."""
        unknown = (f"wc_{secrets.token_hex(6)}_{secrets.token_hex(36)}" for _ in self.targets)
        return [request("GET", each.path, {"X-API-Key": key}) for each, key in zip(self.targets, unknown, strict=True)]

    def lists(self) -> list[str]:
        """First page of a shop's registries."""
        path = f"/api/registries?limit={_LISTED}"
        return [request("GET", path, self._key(each, n)) for n, each in enumerate(self.targets)]

    def creations(self, count: int) -> list[str]:
        """Creations of `count` registries, each by another customer."""
        return [self._creation(self.targets[n % len(self.targets)], n) for n in range(count)]

    def _creation(self, target: Target, number: int) -> str:
        payload = {
            "title": f"Wedding No. {number}",
            "event_type": "wedding",
            "event_date": f"{time.gmtime().tm_year + 1}-06-01",
            "visibility": "public",
            "registrant": {"first_name": "Ada", "last_name": "Novak", "email": f"ada.{number}@example.com"},
        }
        headers = self._key(target, number) | {
            "X-Customer-Id": str(_FIRST_CUSTOMER + number),
            "Idempotency-Key": secrets.token_hex(16),
            "Content-Type": "application/json",
        }
        return request("POST", "/api/registries", headers, orjson.dumps(payload).decode())

    def _key(self, target: Target, number: int) -> dict[str, str]:
        keys = self.keys[target.shop_id]
        return {"X-API-Key": keys[number % len(keys)]}

    def _queries(self, domain: str, count: int) -> list[str]:
        now = int(time.time())
        return [signed_query(domain, _FIRST_CUSTOMER + n, now - n, self.secret) for n in range(count)]


def make_request_factory(connection: Connection[tuple[Any, ...]], settings: Settings) -> RequestFactory:
    """Create API keys in the database and return the requests for its public registries, shops mixed."""
    rows = connection.execute(_TARGETS).fetchall()
    targets = [Target(*row) for *row, visibility, status in rows if _is_public(visibility, status)]
    random.Random(2026).shuffle(targets)  # noqa: S311  the same order each time
    shop_ids = sorted({each.shop_id for each in targets})
    keys = {shop_id: [add_key(connection, shop_id).key for _ in range(KEYS // len(shop_ids))] for shop_id in shop_ids}
    return RequestFactory(targets, keys, settings.shopify_api_secret.get_secret_value())


def request(method: str, path: str, headers: dict[str, str] | None = None, body: str = "") -> str:
    """The text of an HTTP/1.1 request with the minimal headers; ASCII only."""
    lines = {"Host": "127.0.0.1", **(headers or {}), **({"Content-Length": str(len(body))} if body else {})}
    head = "\r\n".join([f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in lines.items())])
    return f"{head}\r\n\r\n{body}"


def signed_query(domain: str, customer_id: int, timestamp: int, secret: str, **others: str) -> str:
    """A query string signed as by Shopify for a logged-in customer; `others` are the browser's own parameters."""
    fields = [
        ("shop", domain),
        ("logged_in_customer_id", str(customer_id)),
        ("path_prefix", "/apps/registry"),
        ("timestamp", str(timestamp)),
        *others.items(),
    ]
    return urlencode([*fields, ("signature", sign(canonical(fields), secret))])


def _is_public(visibility: str, status: str) -> bool:
    return access_level(Visibility(visibility), RegistryStatus(status)) is AccessLevel.OPEN
