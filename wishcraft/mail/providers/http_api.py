"""Shared code of the providers with an HTTP API: client, bounded concurrency, waiting while throttled, errors."""

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final

import httpx

from wishcraft.domain.addresses import normalise
from wishcraft.errors import MailAcceptanceUnknown, MailRefused, MailUnavailable, in_words
from wishcraft.mail.mailer import Mail

MAX_AT_ONCE: Final = 10
"""Requests and connections; the others wait."""
MAX_TRIES: Final = 6
"""Of a mail while the provider throttles, with pauses of 0.5, 1, 2, 4 and 8 s unless it says how long."""
MAX_PAUSE_SECONDS: Final = 30.0
"""A longer pause is left to the next run of the job."""
SETTING_STATUSES: Final = frozenset(
    {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED}
)
"""Statuses that no mail causes, but a key or an address of the API."""
LATER_STATUSES: Final = frozenset({httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_EARLY, httpx.codes.TOO_MANY_REQUESTS})
"""Statuses below 500 of a request that was not processed, also of proxies before the API."""
_FIRST_PAUSE_SECONDS: Final = 0.5
_NUMBER: Final = re.compile(r"\d{1,12}", re.ASCII)

Post = Callable[[], Awaitable[httpx.Request]]


class HttpApi:
    """Sends requests to one provider. It connects on the first request."""

    def __init__(
        self, name: str, timeout: httpx.Timeout, is_throttled: Callable[[httpx.Response], bool], max_pause: float
    ) -> None:
        """An API that is not connected yet.

        Args:
            name: The provider, for error messages.
            timeout: Of each request.
            is_throttled: Whether the response says to send the same request again, later.
            max_pause: Seconds; a provider that asks for a longer pause is unavailable.
        """
        self._name = name
        self._is_throttled = is_throttled
        self._max_pause = max_pause
        limits = httpx.Limits(max_connections=MAX_AT_ONCE, max_keepalive_connections=MAX_AT_ONCE)
        self._client = httpx.AsyncClient(timeout=timeout, limits=limits)
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)
        self._resume_at = 0.0  # of the monotonic clock; what throttles one request throttles all

    async def post(self, build: Post) -> httpx.Response:
        """The response to the request, which is built again for each try, as its signature has the time.

        Raises:
            MailUnavailable: The provider cannot be reached, or throttles for longer than a send waits.
            MailAcceptanceUnknown: The reply was lost.
        """
        async with self._slots:
            for attempt in range(MAX_TRIES):
                while (seconds := self._resume_at - time.monotonic()) > 0:  # noqa: ASYNC110  it may be put off
                    await asyncio.sleep(seconds)
                response = await self._send(await build())
                if not self._is_throttled(response):
                    return response
                self._pause(response, attempt)
        raise MailUnavailable(f"{self._name} throttles: {response.status_code} to each of {MAX_TRIES} tries")

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _send(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._client.send(request)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            raise MailUnavailable(f"{self._name} cannot be reached: {in_words(error)}") from None
        except httpx.HTTPError as error:
            raise MailAcceptanceUnknown(f"no answer of {self._name} to the mail: {in_words(error)}") from None

    def _pause(self, response: httpx.Response, attempt: int) -> None:
        seconds = _requested_pause(response.headers, time.time())
        if seconds is None:
            seconds = _FIRST_PAUSE_SECONDS * 2**attempt * random.uniform(0.8, 1.2)  # noqa: S311  no secret
        if seconds > self._max_pause:
            raise MailUnavailable(f"{self._name} throttles for {seconds:.0f} s")
        self._resume_at = max(self._resume_at, time.monotonic() + seconds)


def with_ascii_recipient(mail: Mail, provider: str) -> Mail:
    """The mail to its normalised recipient, whose domain is in Punycode.

    Raises:
        MailRefused: The local part is not ASCII: neither provider supports SMTPUTF8 (RFC 6531).
    """
    recipient = normalise(mail.recipient) or mail.recipient
    if not recipient.isascii():
        raise MailRefused(f"{provider} takes no address that is not ASCII")
    return replace(mail, recipient=recipient)


def server_error(name: str, response: httpx.Response) -> MailUnavailable | MailAcceptanceUnknown:
    """The error for a status of 500 and above.

    503 says that the request was not processed. After the others (500, 502, 504) the mail may have been accepted.
    """
    if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        return MailUnavailable(f"{name} is unavailable: 503")
    return MailAcceptanceUnknown(f"{name} failed: {response.status_code}")


def _requested_pause(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until the provider wants to be asked again, if it says so.

    By `Retry-After` in seconds (RFC 9110, section 10.2.3), or SendGrid's `X-RateLimit-Reset`, a Unix time: if that is
    over while it throttles, the two clocks differ, and it says nothing.
    """
    if _NUMBER.fullmatch(seconds := headers.get("Retry-After", "")):
        return float(seconds)
    if _NUMBER.fullmatch(reset := headers.get("X-RateLimit-Reset", "")) and float(reset) > now:
        return float(reset) - now
    return None
