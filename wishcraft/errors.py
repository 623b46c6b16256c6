"""Every error that WishCraft raises on purpose.

- WishCraftError
  - ConfigurationError       a setting is missing or wrong; the message says which and what to do
  - UnknownShop              no active shop has the domain that somebody named
  - RunStopped               the run was asked to end, and did so between two batches
  - TransientError           it may work later, so a task retries it
    - CacheUnavailable       Redis refused, hung or restarted
    - ShopifyUnavailable     5xx, a cut connection, a timeout or a malformed answer, after the client's own retries
    - ShopifyThrottled       Shopify kept throttling past the client's patience
  - ShopifyRefused           it will not work until someone changes something
    - ShopifyUnauthorized    the token is not accepted and could not be refreshed: the shop must install the app anew
    - ShopifyQueryInvalid    Shopify does not accept the document or its cost
    - BulkOperationFailed    a bulk operation ended FAILED, CANCELED or EXPIRED
"""


class WishCraftError(Exception):
    """The root of the tree above."""


class ConfigurationError(WishCraftError):
    """A setting is missing or wrong; the message says which and what to do."""


class UnknownShop(WishCraftError):  # noqa: N818  it names a state
    """No active shop has the domain that somebody named."""


class RunStopped(WishCraftError):  # noqa: N818  it names what happened
    """The run was asked to end, and did so between two batches: nothing is half-done."""


class TransientError(WishCraftError):
    """It may work later."""


class CacheUnavailable(TransientError):  # noqa: N818  it names a state; so do httpx and psycopg
    """Redis refused, hung or restarted."""


class ShopifyUnavailable(TransientError):  # noqa: N818  it names a state
    """Shopify did not give a usable answer, after the client's own retries."""


class ShopifyThrottled(TransientError):  # noqa: N818  Shopify's own word
    """Shopify kept throttling past the client's patience."""


class ShopifyRefused(WishCraftError):  # noqa: N818  it names a state
    """Shopify answered, and the answer is no until someone changes something."""


class ShopifyUnauthorized(ShopifyRefused):
    """The shop's token is not accepted and could not be refreshed: the shop must install the app anew."""


class ShopifyQueryInvalid(ShopifyRefused):
    """Shopify does not accept the GraphQL document, its variables or its cost."""


class BulkOperationFailed(ShopifyRefused):
    """A bulk operation ended FAILED, CANCELED or EXPIRED."""
