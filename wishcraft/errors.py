"""Every error that WishCraft raises on purpose.

- WishCraftError
  - ConfigurationError       a setting is missing or wrong; the message says which and what to do
  - UnknownShop              no active shop has the domain that somebody named
  - RequestRefused           a request asks for what cannot be done; the message says why, for whoever asked
    - NotFound               there is no such thing, or it is not the caller's to see
    - NotAllowed             the caller may not do that
    - Conflict               it does not go together with what is there
    - LimitReached           the shop or the customer has as many as they may
    - ChangedSince           the registry is not as the caller last saw it
    - Invalid                what was asked for makes no sense here
    - TooManyTries           an access code was tried too often
  - QuestionRefused          an analyst's question is not understood, not allowed or too large; the message says why
  - RunStopped               the run was asked to end, and did so between two batches
  - TransientError           it may work later, so a task retries it
    - CacheUnavailable       Redis refused, hung or restarted
    - DatabaseUnavailable    PostgreSQL did not answer in the time that a request or a task has
    - ShopifyUnavailable     5xx, a cut connection, a timeout or a malformed answer, after the client's own retries
    - ShopifyThrottled       Shopify kept throttling past the client's patience
    - MailUnavailable        the mail server is away, or takes nothing for now
    - MailPostponed          the mail server does not take this one mail for now
    - MailOutcomeUnknown     a mail was handed over, and no answer came: it may have been taken
  - ShopifyRefused           it will not work until someone changes something
    - ShopifyUnauthorized    the token is not accepted and could not be refreshed: the shop must install the app anew
    - ShopifyQueryInvalid    Shopify does not accept the document or its cost
    - BulkOperationFailed    a bulk operation ended FAILED, CANCELED or EXPIRED
  - MailRejected             the mail server will never take this mail; no message names the address
    - AddressRejected        because there is no such mailbox: writing to it again would be wrong
  - RefusalsDoubted          it says so of most recipients of a run: rather the server is wrong than they
  - SenderRejected           the mail server does not take mail from us: the login or the sender is wrong
"""

from typing import ClassVar


class WishCraftError(Exception):
    """The root of the tree above; `advice` says in a job's summary what to do."""

    advice: ClassVar[str] = "Look at the run's logs."


class ConfigurationError(WishCraftError):
    """A setting is missing or wrong; the message says which and what to do."""

    advice = "Mend the setting in the environment of the worker, and start the worker again."


class UnknownShop(WishCraftError):  # noqa: N818  it names a state
    """No active shop has the domain that somebody named."""


class RequestRefused(WishCraftError):  # noqa: N818  it names what happened
    """A request asks for what cannot be done; the message says why, for whoever asked, and holds no secret."""

    kind: ClassVar[str]
    """Names the reason for programs; it never changes."""


class NotFound(RequestRefused):
    """There is no such thing, or it is not the caller's to see."""

    kind = "not-found"


class NotAllowed(RequestRefused):
    """The caller may not do that."""

    kind = "not-allowed"


class Conflict(RequestRefused):
    """It does not go together with what is there."""

    kind = "conflict"


class LimitReached(Conflict):
    """The shop or the customer has as many as they may."""

    kind = "limit-reached"


class ChangedSince(RequestRefused):
    """The registry is not as the caller last saw it."""

    kind = "changed-since"


class Invalid(RequestRefused):
    """What was asked for makes no sense here."""

    kind = "invalid-request"


class TooManyTries(RequestRefused):
    """An access code was tried too often."""

    kind = "too-many-tries"

    def __init__(self, message: str, retry_after: int) -> None:
        """`retry_after` is in seconds."""
        super().__init__(message)
        self.retry_after = retry_after


class QuestionRefused(WishCraftError):  # noqa: N818  it names what happened
    """An analyst's question is not understood, not allowed or too large; the message says why."""

    advice = "Ask again, as the message says."


class RunStopped(WishCraftError):  # noqa: N818  it names what happened
    """The run was asked to end, and did so between two batches: nothing is half-done."""


class TransientError(WishCraftError):
    """It may work later."""

    advice = "Nothing, if the next run succeeds."


class CacheUnavailable(TransientError):  # noqa: N818  it names a state; so do httpx and psycopg
    """Redis refused, hung or restarted."""

    advice = "Look at Redis (/health tells how it is); the next run makes up for this one."


class DatabaseUnavailable(TransientError):  # noqa: N818  it names a state
    """PostgreSQL did not answer in the time that a request or a task has."""

    advice = "Look at PostgreSQL (/health tells how it is); the next run makes up for this one."


class ShopifyUnavailable(TransientError):  # noqa: N818  it names a state
    """Shopify did not give a usable answer, after the client's own retries."""

    advice = "Nothing, if the next run succeeds; else look at Shopify's status page."


class ShopifyThrottled(TransientError):  # noqa: N818  Shopify's own word
    """Shopify kept throttling past the client's patience."""

    advice = "Nothing, if the next run succeeds; else another app of this shop uses up its points."


class MailUnavailable(TransientError):  # noqa: N818  it names a state
    """The mail server is away, or takes nothing for now."""

    advice = "Look at the mail server of SMTP_URL; then run the job again, or wait for the next run."


class MailPostponed(TransientError):  # noqa: N818  it names what happened
    """The mail server does not take this one mail for now."""


class MailOutcomeUnknown(TransientError):  # noqa: N818  it names a state
    """A mail was handed over, and no answer came: it may have been taken."""


class ShopifyRefused(WishCraftError):  # noqa: N818  it names a state
    """Shopify answered, and the answer is no until someone changes something."""

    advice = "Look at the run's logs: Shopify says there what it refuses."


class ShopifyUnauthorized(ShopifyRefused):
    """The shop's token is not accepted and could not be refreshed: the shop must install the app anew."""

    advice = "Ask the merchant to install the app anew."


class ShopifyQueryInvalid(ShopifyRefused):
    """Shopify does not accept the GraphQL document, its variables or its cost."""

    advice = "Tell the developers: the query does not fit SHOPIFY_API_VERSION."


class BulkOperationFailed(ShopifyRefused):
    """A bulk operation ended FAILED, CANCELED or EXPIRED."""

    advice = "Run the job again for this shop."


class MailRejected(WishCraftError):  # noqa: N818  it names what happened
    """The mail server will never take this mail; the message names its reply code, never the address."""


class AddressRejected(MailRejected):
    """There is no such mailbox: writing to it again would be wrong."""


class RefusalsDoubted(WishCraftError):  # noqa: N818  it names what happened
    """The mail server says of most recipients of a run that they do not exist: rather it is wrong than they."""

    advice = (
        "Nobody was suppressed, and their reminders stay due. See why the mail server of SMTP_URL refuses them "
        "(docs/runbooks/mail.md); then run the job again, today."
    )


class SenderRejected(WishCraftError):  # noqa: N818  it names what happened
    """The mail server does not take mail from us: the login or the sender is wrong."""

    advice = "Mend SMTP_URL or MAIL_FROM in the environment of the worker; then run the job again."
