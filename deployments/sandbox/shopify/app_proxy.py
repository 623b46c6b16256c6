"""Shopify's app proxy: `{shop}/apps/registry/*` goes to the app's `/api/*`, signed.

https://shopify.dev/docs/apps/build/online-store/app-proxies
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode

import httpx

from wishcraft.errors import in_words
from wishcraft.shopify.signatures import SIGNED_FIELDS, canonical, sign

PREFIX: Final = "/apps/registry"
MAX_ANSWER: Final = 10 * 2**20
SECONDS: Final = 30.0
_NOT_PASSED_ON: Final = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
    "upgrade", "proxy-connection",  # these are of one hop
    "cookie", "set-cookie", "host", "content-length", "content-encoding", "accept-encoding", "x-forwarded-for",
})  # fmt: skip
Headers = Iterable[tuple[str, str]]


class ProxiedRequest(NamedTuple):
    """A browser's request to a shop."""

    method: str
    path: str
    """Below `PREFIX`, as received: with its escapes."""
    query: str = ""
    headers: Headers = ()
    body: bytes = b""
    address: str = "127.0.0.1"
    """The browser's."""
    customer_id: int | None = None
    """None for a guest, who is not logged in."""


class AppUnreachableError(Exception):
    """The app cannot be asked, does not answer, or answers too much."""


@dataclass(slots=True)
class AppProxy:
    """Forwards browsers' requests to the app with this client, whose base URL is the app's."""

    http: httpx.AsyncClient
    secret: str
    clock: Callable[[], float]
    """Returns epoch seconds."""

    async def forward(self, shop: str, request: ProxiedRequest) -> httpx.Response:
        """The app's answer; redirects are left to the browser.

        Raises:
            AppUnreachableError: No answer, or one larger than `MAX_ANSWER`.
        """
        if {".", ".."}.intersection(unquote(request.path).split("/")):
            raise AppUnreachableError("the path leads out of /api")
        query = signed_query(shop, request, self.secret, self.clock())
        kept = passed_on(request.headers)
        forwarded = [value for name, value in request.headers if name.lower() == "x-forwarded-for"]
        kept.append(("X-Forwarded-For", ", ".join([*forwarded, request.address])))
        url = f"/api/{request.path}?{query}"
        try:
            encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in kept]
            sent = self.http.build_request(
                request.method, url, headers=encoded, content=request.body or None, timeout=SECONDS
            )
            answer = await self.http.send(sent, stream=True)
            try:
                body = b""
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > MAX_ANSWER:
                        raise AppUnreachableError("the app's answer is too large")
            finally:
                await answer.aclose()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise AppUnreachableError(f"the app does not answer: {in_words(error)}") from None
        return httpx.Response(answer.status_code, headers=passed_on(answer.headers.multi_items()), content=body)


def signed_query(shop: str, request: ProxiedRequest, secret: str, now: float) -> str:
    """The browser's query with Shopify's own parameters; those that it sent itself are dropped."""
    own = parse_qsl(request.query, keep_blank_values=True)
    fields = [
        *((name, value) for name, value in own if name not in SIGNED_FIELDS),
        ("shop", shop),
        ("logged_in_customer_id", str(request.customer_id or "")),
        ("path_prefix", PREFIX),
        ("timestamp", str(int(now))),
    ]
    return urlencode([*fields, ("signature", sign(canonical(fields), secret))])


def passed_on(headers: Headers) -> list[tuple[str, str]]:
    """The headers that the proxy passes on: no cookies, none of one hop, and none that the next hop makes."""
    named = {name.strip().lower() for key, value in headers if key.lower() == "connection" for name in value.split(",")}
    return [(name, value) for name, value in headers if name.lower() not in _NOT_PASSED_ON | named]
