"""Messages of Amazon SNS over HTTP: signatures of version 2, certificates, and the confirmation of subscriptions.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

import asyncio
import base64
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import httpx
import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_pem_x509_certificate

from wishcraft.errors import EventsUnsigned, EventsUnverified, in_words
from wishcraft.urls.aws import is_host_of

MAX_AGE: Final = timedelta(hours=2)
"""SNS tries for an hour to deliver a message over HTTPS. What comes again is stored once."""
NOTIFICATION: Final = "Notification"
_CONFIRMATIONS: Final = frozenset({"SubscriptionConfirmation", "UnsubscribeConfirmation"})
_SIGNED: Final = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    **dict.fromkeys(_CONFIRMATIONS, ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")),
}
"""The signed fields of each type, in their order; `Subject` only if there is one."""
_URL: Final = re.compile(r"(https?://[a-z0-9.:-]+)(/[!-~]*)", re.ASCII)
_CERTIFICATE: Final = re.compile(r"(?:/[A-Za-z0-9_-]{1,200}){1,4}\.pem", re.ASCII)
"""The rest of a certificate's URL."""
_SECONDS: Final = 3.0
_MAX_CERTIFICATE_BYTES: Final = 16 * 1024
_KEPT_SECONDS: Final = 3_600.0
_FAILED_SECONDS: Final = 30.0
_GOOD_SECONDS: Final = 86_400.0
_MOST_KEPT: Final = 16


class _Known(NamedTuple):
    """State of a certificate; times are on the monotonic clock."""

    key: RSAPublicKey | None
    """None if it could not be read."""
    until: float
    """When it is read again."""
    good_until: float
    """How long the key is used if it cannot be."""


class SnsVerifier:
    """Verifies messages of some topics. It asks no other host than SNS's own, and follows no redirect."""

    def __init__(self, http: httpx.AsyncClient, topic_arns: str, origin: str | None = None) -> None:
        """A verifier without certificates yet.

        Args:
            http: Its time limits are replaced.
            topic_arns: The topics whose messages count, comma-separated: anyone can have a topic of their own, whose
                messages SNS signs as validly.
            origin: Of a simulated SNS, in place of Amazon's.
        """
        self._http = http
        self._topic_arns = frozenset(arn.strip() for arn in topic_arns.split(",") if arn.strip())
        self._origin = origin
        self._known: dict[str, _Known] = {}
        """By URL of the certificate."""
        self._fetching = asyncio.Lock()

    async def verify(self, body: bytes) -> Mapping[str, Any]:
        """The message, if SNS has signed it for one of the topics.

        Raises:
            EventsUnsigned: It is none, or of another topic.
            EventsUnverified: The certificate could not be read.
        """
        message = _parse(body)
        if message["TopicArn"] not in self._topic_arns:
            raise EventsUnsigned("The topic is not one of SES_TOPIC_ARNS.")
        signature = _decode(message["Signature"])
        key = await self._key(message["SigningCertURL"])
        names = (name for name in _SIGNED[message["Type"]] if name in message)
        signed = "".join(f"{name}\n{message[name]}\n" for name in names)
        try:
            key.verify(signature, signed.encode(), PKCS1v15(), SHA256())
        except InvalidSignature:
            raise EventsUnsigned("The signature is not SNS's.") from None
        return message

    async def confirm(self, message: Mapping[str, Any]) -> None:
        """Confirm the subscription that a verified message asks about.

        Raises:
            EventsUnsigned: The link leads elsewhere.
            EventsUnverified: SNS did not answer, or refused.
        """
        url = str(message["SubscribeURL"])
        self._require_own(url)
        try:
            response = await self._http.get(url, timeout=_SECONDS, follow_redirects=False)
        except httpx.HTTPError as error:
            raise EventsUnverified(f"SNS did not answer the confirmation: {in_words(error)}") from None
        if not response.is_success:
            raise EventsUnverified(f"SNS answered the confirmation with {response.status_code}")

    def _require_own(self, url: str) -> str:
        """The rest of a URL of SNS, after its origin."""
        match = _URL.fullmatch(url)
        origin = match[1] if match else ""
        is_own = origin == self._origin if self._origin else is_host_of("sns", origin.removeprefix("https://"))
        if match is None or not is_own:
            raise EventsUnsigned("The message names a host that is not SNS's.")
        return match[2]

    async def _key(self, url: str) -> RSAPublicKey:
        if not _CERTIFICATE.fullmatch(self._require_own(url)):
            raise EventsUnsigned("SigningCertURL is not the URL of a certificate.")
        known = self._known.get(url)
        if self._fetching.locked() and known and known.key and time.monotonic() < known.good_until:
            return known.key  # perhaps past its hour: URLs that senders make up hold up no message
        if known is None or time.monotonic() >= known.until:
            async with self._fetching:  # one request at a time, as senders may make up URLs
                known = self._known.get(url)
                if known is None or time.monotonic() >= known.until:
                    known = self._renewed(known, await self._fetch(url))
                    self._keep(url, known)
        if known.key is None:
            raise EventsUnverified("SNS's certificate could not be read")
        return known.key

    @staticmethod
    def _renewed(before: _Known | None, fetched: RSAPublicKey | None) -> _Known:
        """The state after a request; a key that was good a day ago is used while SNS does not answer."""
        now = time.monotonic()
        if fetched is not None:
            return _Known(fetched, now + _KEPT_SECONDS, now + _GOOD_SECONDS)
        if before is not None and now < before.good_until:
            return before._replace(until=now + _FAILED_SECONDS)
        return _Known(None, now + _FAILED_SECONDS, now)

    def _keep(self, url: str, known: _Known) -> None:
        """Keep what was read, in place of what failed if possible: URLs that senders make up displace no key."""
        self._known.pop(url, None)
        while len(self._known) >= _MOST_KEPT:
            failed = (each for each, kept in self._known.items() if kept.key is None)
            del self._known[next(failed, next(iter(self._known)))]
        self._known[url] = known

    async def _fetch(self, url: str) -> RSAPublicKey | None:
        try:
            async with self._http.stream("GET", url, timeout=_SECONDS, follow_redirects=False) as response:
                content = b""
                async for part in response.aiter_bytes():
                    content += part
                    if len(content) > _MAX_CERTIFICATE_BYTES:
                        return None
            certificate = load_pem_x509_certificate(content)
        except (httpx.HTTPError, ValueError):
            return None
        key, now = certificate.public_key(), datetime.now(UTC)
        is_valid = certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
        return key if response.is_success and is_valid and isinstance(key, RSAPublicKey) else None


def _parse(body: bytes) -> dict[str, Any]:
    """The fields of the message that are texts; all that are used are."""
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise EventsUnsigned("The body is not JSON.") from None
    if not isinstance(message, dict):
        raise EventsUnsigned("The body is not a message of SNS.")
    texts: dict[str, Any] = {name: value for name, value in message.items() if isinstance(value, str)}
    kind = texts.get("Type")
    if kind not in _SIGNED:
        raise EventsUnsigned("The message has an unknown type.")
    if not {*_SIGNED[kind], "Signature", "SigningCertURL", "SignatureVersion"} - {"Subject"} <= texts.keys():
        raise EventsUnsigned("The message is incomplete.")
    return _require_recent(texts)


def _require_recent(message: dict[str, Any]) -> dict[str, Any]:
    """The message, if it has a signature of version 2 and was sent within `MAX_AGE`."""
    if message["SignatureVersion"] != "2":
        raise EventsUnsigned("Only signatures of version 2 are accepted: set SignatureVersion of the topic to 2.")
    try:
        sent_at = datetime.fromisoformat(message["Timestamp"])
        age = datetime.now(UTC) - sent_at
    except (ValueError, TypeError, OverflowError):
        raise EventsUnsigned("The message has no time.") from None
    if not -MAX_AGE < age < MAX_AGE:
        raise EventsUnsigned("The message is too old.")
    return message


def _decode(signature: str) -> bytes:
    try:
        return base64.b64decode(signature, validate=True)
    except ValueError:  # of base64, or because it is not ASCII
        raise EventsUnsigned("The signature is not base64.") from None
