"""The forms of texts: their patterns, and what to say of a text that has another form. Pure."""

from typing import Final

from wishcraft.domain.addresses import SHOP_ADDRESS
from wishcraft.domain.analytics_events import VISITOR_ID

COLOUR: Final = r"^#[0-9a-fA-F]{6}$"
ONE_LINE: Final = r"^[^\x00-\x1f\x7f]+$"
SHARE_URL_OR_DEFAULT: Final = r"^(default$|https://)"
SHOP_ADDRESS_OR_DEFAULT: Final = f"^default$|{SHOP_ADDRESS}"
ADDRESS_HASH: Final = r"^[0-9a-f]{64}$"
KEY_PREFIX: Final = r"^[0-9a-f]{12}$"
VISIBLE_ASCII: Final = r"^[\x21-\x7e]+$"
PRICE: Final = r"^[0-9]{1,11}(\.[0-9]{1,4})?$"
LIST_CURSOR: Final = r"^[A-Za-z0-9_-]+$"
AUDIT_CURSOR: Final = r"^[0-9]{1,16}-[0-9]{1,18}$"
FILE_PART: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
VARIANT_ID: Final = r"^(gid://shopify/ProductVariant/)?[0-9]{1,19}$"
CUSTOMER_ID: Final = r"^(gid://shopify/Customer/)?[0-9]{1,19}$"


def id_fault(kind: str) -> str:
    """What to say of a text that is not the id of an object of this kind in Shopify."""
    return f"is not the id of a {kind}, such as 1 or gid://shopify/{kind}/1"


_CURSOR_FAULT: Final = (
    "is not a cursor: send the `next_cursor` of the previous page, or leave it out for the first page"
)
_ADDRESS_FAULT: Final = "is not a plain e-mail address such as gifts@shop.example"
FAULTS: Final = {
    COLOUR: "is not a colour such as #2f6f5e",
    ONE_LINE: "is not one line of text: send it without line breaks and control characters",
    SHARE_URL_OR_DEFAULT: "is neither a URL such as https://shop.example/gifts?list={slug} nor default",
    SHOP_ADDRESS: _ADDRESS_FAULT,
    SHOP_ADDRESS_OR_DEFAULT: f"{_ADDRESS_FAULT}, nor default",
    ADDRESS_HASH: "is not the hash of an address: 64 digits from 0 to f, as the list of this job shows them",
    KEY_PREFIX: "is not the prefix of an API key, such as 0123456789ab: the 12 characters between `wc_` and `_`",
    VISIBLE_ASCII: "has a space or a character that is not ASCII: send an id such as a UUID",
    PRICE: "is not an amount such as 12.50, with at most four decimal places",
    LIST_CURSOR: _CURSOR_FAULT,
    AUDIT_CURSOR: _CURSOR_FAULT,
    FILE_PART: "is not part of the link to a file: open the link as the run shows it",
    VARIANT_ID: id_fault("ProductVariant"),
    CUSTOMER_ID: id_fault("Customer"),
    VISITOR_ID: "is not an id of at most 64 letters without accents, digits, `_` and `-`",
}
"""What is wrong with a text that a pattern refuses. Those of links are in `share_links.py`."""
