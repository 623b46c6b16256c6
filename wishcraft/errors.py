"""Every error that WishCraft raises on purpose."""

import re
from errno import ENOSPC
from typing import ClassVar, Final, NamedTuple

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")
_NAMES: Final = {"Shopify": "Shopify", "Dns": "DNS"}
_FULL: Final = ("No space left on device", "disk full:")


def in_words(error: BaseException) -> str:
    """The kind of an error, for people: `read timeout` for ReadTimeout, `OS error` for OSError.

    Logs have the class too where it is a bug, and Sentry always.
    """
    words = _WORD.findall(type(error).__name__)
    return " ".join(_NAMES.get(word, word if len(word) > 1 and word.isupper() else word.lower()) for word in words)


def is_disk_full(error: BaseException) -> bool:
    """Whether a program or server says that its disk has no space left, as an OSError or in words."""
    return getattr(error, "errno", None) == ENOSPC or any(words in str(error) for words in _FULL)


class WishCraftError(Exception):
    """Base of all of them; `advice` is the next step, shown in a job's summary."""

    advice: str = ""
    """Empty if no job is expected to end with this error."""


class ConfigurationError(WishCraftError):
    """A setting is missing or invalid; the message names it and says what to do."""

    advice = "Correct the setting in the worker's environment, then restart the worker."


class RequestRefused(WishCraftError):  # noqa: N818  it names what happened
    """A request cannot be fulfilled; the message is shown to the client and contains no secret."""

    kind: ClassVar[str]
    """Last part of the problem type; never changes."""


class NotFound(RequestRefused):
    """The object does not exist, or the caller may not see it."""

    kind = "not-found"


NO_SUCH_REGISTRY: Final = "The shop has no such registry."


class ShopErased(RequestRefused):
    """The shop was erased after its caller was let in, or its job began."""

    kind = "shop-not-installed"

    def __init__(self) -> None:
        super().__init__("The shop was erased. Install the app in it again.")


class NotAllowed(RequestRefused):
    """The caller lacks the permission."""

    kind = "not-allowed"


class WrongAccessCode(NotAllowed):
    """The access code is not the registry's."""

    kind = "wrong-access-code"


class Conflict(RequestRefused):
    """The request contradicts the current state."""

    kind = "conflict"


class LimitReached(Conflict):
    """The shop or the customer has reached a maximum."""

    kind = "limit-reached"


class PreconditionFailed(RequestRefused):
    """`If-Match` does not name the registry's current version."""

    kind = "changed-since"


def changed_since(what: str, them: str) -> PreconditionFailed:
    """`what` has changed since `If-Match` was sent; `them` is its pronoun."""
    return PreconditionFailed(
        f"{what} changed since, or If-Match is not an ETag as it was sent, without W/: read {them} again."
    )


class InvalidValue(NamedTuple):
    """A value of a request that is not valid, with its place: in the body, or in the query, path or headers."""

    detail: str
    pointer: str | None = None
    """JSON pointer into the body, as a URI fragment: `#/registrant/email` (RFC 6901, section 6)."""
    parameter: str | None = None
    """Name of the parameter or header."""


class Invalid(RequestRefused):
    """A value is not valid here."""

    kind = "invalid-request"

    def __init__(self, message: str, *errors: InvalidValue) -> None:
        """`errors` are the values that the message is about."""
        super().__init__(message)
        self.errors = errors


def invalid_field(name: str, detail: str) -> Invalid:
    """Invalid because of this field of the body."""
    return Invalid(detail, InvalidValue(detail, pointer=f"#/{name}"))


def invalid_parameter(name: str, detail: str) -> Invalid:
    """Invalid because of this parameter of the query."""
    return Invalid(f"{name}: {detail}", InvalidValue(detail, parameter=name))


class TooManyRequests(RequestRefused):
    """The caller must wait before the next try."""

    def __init__(self, message: str, retry_after: int) -> None:
        """`retry_after` is in seconds."""
        super().__init__(message)
        self.retry_after = retry_after


class TooManyTries(TooManyRequests):
    """An access code was tried too often."""

    kind = "too-many-tries"


class TooManyQueries(TooManyRequests):
    """A caller caused too many queries to Shopify."""

    kind = "too-many-requests"


class TooManySearches(TooManyRequests):
    """Too many search one shop at a time."""

    kind = "too-many-requests"


class QueryRefused(WishCraftError):  # noqa: N818  it names what happened
    """A question of an analyst, or a parameter of a run, is invalid, not allowed or too large; the message says why."""

    advice = "Change the parameters as the message says, then run it again."


class UnknownShop(QueryRefused):
    """No active shop has the given domain."""


class PayloadInvalid(WishCraftError):  # noqa: N818  it names a state
    """A webhook's payload lacks what its topic promises; the message names fields and no values."""

    advice = "Compare the payload with Shopify's reference for the topic and the API version."


class DecisionNeeded(WishCraftError):  # noqa: N818  it names a state
    """What a webhook asks for may be wrong and cannot be undone; the message says what a person has to find out."""

    advice = "See docs/runbooks/webhooks.md."


class EventsUnsigned(WishCraftError):  # noqa: N818  it names a state
    """Events that no mail provider of ours has signed; the message quotes nothing."""


class RunStopped(WishCraftError):  # noqa: N818  it names what happened
    """The run was asked to stop, and stopped between two batches: no batch is half done."""


class DatabaseRefused(WishCraftError):  # noqa: N818  it names what happened
    """PostgreSQL cannot store or compute a value, and will refuse it again; a retry is useless."""


class TransientError(WishCraftError):
    """The same call may succeed later."""

    advice = "Nothing to do if the next run succeeds."


class CacheUnavailable(TransientError):  # noqa: N818  it names a state; so do httpx and psycopg
    """Redis refused, hung or restarted."""

    advice = "Check Redis (see /health); the next run makes up for this one."


class RegistriesChanged(TransientError):  # noqa: N818  it names what happened
    """A customer got a registry, or was named in one, after the look-up of what a webhook or a replay locks."""


class DatabaseUnavailable(TransientError):  # noqa: N818  it names a state
    """PostgreSQL refused, timed out, deadlocked or closed the connection; the driver's error is the cause."""

    advice = "Check PostgreSQL (see /health); the next run makes up for this one."


def database_fault(error: DatabaseUnavailable) -> str:
    """What a command says of it: that the disk is full, or which setting to check."""
    fault = "has no disk space left" if is_disk_full(error) else "does not answer: check DATABASE_URL"
    return f"PostgreSQL {fault}. {error}"


def database_silent(seconds: float) -> DatabaseUnavailable:
    """PostgreSQL did not answer for so long."""
    return DatabaseUnavailable(f"PostgreSQL did not answer within {seconds:g} s")


class DatabaseBusy(DatabaseUnavailable):
    """Another transaction held a row or table for longer than `lock_timeout`."""


class ShopifyUnavailable(TransientError):  # noqa: N818  it names a state
    """Shopify gave no usable response, after the client's own retries."""

    advice = "Nothing to do if the next run succeeds; otherwise see Shopify's status page."


class ShopifyUncertain(ShopifyUnavailable):
    """Shopify's answer may be outdated: it was asked too soon after the event that it is to confirm."""


class ShopifyPaused(ShopifyUnavailable):
    """Shopify was not asked, because it did not answer a moment ago."""

    def __init__(self, message: str, retry_after: int) -> None:
        """`retry_after` is in seconds."""
        super().__init__(message)
        self.retry_after = retry_after


class ShopifyThrottled(TransientError):  # noqa: N818  Shopify's own word
    """Shopify throttled every retry of the client."""

    advice = "Nothing to do if the next run succeeds; otherwise another app uses up this shop's points."


class EventsUnverified(TransientError):  # noqa: N818  it names a state
    """Events of a mail provider, whose signature cannot be checked at present."""


class DnsUnavailable(TransientError):  # noqa: N818  it names a state
    """No DNS server answered."""

    advice = "Check DNS_SERVER, or the DNS server of the worker's machine; then run the job again."


class MailUnavailable(TransientError):  # noqa: N818  it names a state
    """The mail server does not answer, or accepts no mail at present."""

    advice = "Check the mail server or provider of MAIL_URL; then run the job again, or wait for the next run."


class MailPostponed(TransientError):  # noqa: N818  it names what happened
    """The mail server does not accept this one mail at present."""


class MailAcceptanceUnknown(TransientError):  # noqa: N818  it names a state
    """A mail was sent without a reply: the server may have accepted it."""


class ShopifyRefused(WishCraftError):  # noqa: N818  it names a state
    """Shopify answered with an error that a retry does not change."""

    advice = "See the run's logs for Shopify's error."


class ShopifyUnauthorized(ShopifyRefused):
    """The shop's token is invalid and cannot be refreshed: the merchant must open the app, which gets a new one."""

    advice = "Ask the merchant to open the app in the admin, or to install it again."


class TokenRefused(ShopifyUnauthorized):
    """Shopify refuses the refresh token for good: it was used, has expired, or the app was uninstalled."""


class ShopifyClientRefused(ShopifyUnauthorized):
    """Shopify does not know the app's client id and secret, or the shop has uninstalled the app."""


class IdTokenRefused(ShopifyUnauthorized):
    """Shopify refuses the ID token, which has expired on its way: the admin must send a new one."""


class ShopifyQueryInvalid(ShopifyRefused):
    """Shopify refuses the GraphQL document, its variables or its cost."""

    advice = "Report it to the developers: the query does not fit SHOPIFY_API_VERSION."


class ShopifyQueryTooLarge(ShopifyQueryInvalid):
    """A query costs more points than Shopify allows for one: it is to ask for fewer objects."""


class ShopifyAccessDenied(ShopifyQueryInvalid):
    """Shopify does not let the app see a field: a scope, or access to protected data or bulk operations, is missing."""

    advice = "Ask the merchant to open the app and grant what it asks for; docs/shopify.md has what the app needs."


class ShopifyForbidden(ShopifyRefused):
    """Shopify answers 403, as it does to requests from an address that the app's IP allowlist lacks."""

    advice = (
        "If all shops are refused, compare the worker's public addresses with the app's IP allowlist; if one is, ask"
        " its merchant whether Shopify has closed it (docs/runbooks/shopify-forbidden.md)."
    )


class ShopClosed(ShopifyRefused):
    """Shopify answers for the shop no more until its merchant acts: it is not paid for, locked, or not active."""

    advice = "Nothing to do: the merchant has not paid Shopify, or has closed the shop. The jobs go on when it is open."


class BulkOperationFailed(ShopifyRefused):
    """A bulk operation ended FAILED, CANCELED or EXPIRED, or completed without the file of its objects."""

    advice = "Run the job again for this shop."


class VariantUnreadable(ShopifyRefused):
    """Shopify describes a variant with values that cannot be stored, such as a price of twelve digits."""

    advice = "Ask the merchant to correct the variant that the run's logs name."


class MailRefused(WishCraftError):  # noqa: N818  it names what happened
    """The mail server refuses this mail for good; the message has the reply code, never the address."""


class AddressRefused(MailRefused):
    """The mailbox does not exist: no further mail may go to it."""


class TooManyAddressesRefused(WishCraftError):  # noqa: N818  it names what happened
    """Most recipients of a run were refused: the mail server is at fault, not the addresses."""

    advice = (
        "No address was suppressed, and the mails stay due. Find out why the mail server of MAIL_URL refuses them "
        "(docs/runbooks/mail.md), then run the job again today."
    )


class EveryMailRefused(WishCraftError):  # noqa: N818  it names what happened
    """The mail provider refuses each mail of a shop: the sender is at fault, not the mails."""

    advice = (
        "Find out why (the summary has the reasons; docs/runbooks/mail.md), correct MAIL_FROM, SPF or DKIM, and run "
        "the job again today: what was refused is not sent again, and the rest is still due."
    )


class SenderRefused(WishCraftError):  # noqa: N818  it names what happened
    """The mail server refuses the login or the sender."""

    advice = "Correct MAIL_URL, MAIL_FROM or BOUNCE_ADDRESS in the worker's environment, then run the job again."


class OwnSenderRefused(SenderRefused):
    """The mail provider refuses a mail for the shop's own sender; from MAIL_FROM it may take it."""

    advice = (
        "Run the job again today: it sends the shop's mails from MAIL_FROM. Run mail-domains to see what the shop's "
        "domain lacks (docs/runbooks/mail.md)."
    )
