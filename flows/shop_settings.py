"""The job `shop-settings`."""

from typing import Annotated, Literal

from prefect import State
from prefect.states import Completed
from pydantic import Field

from flows.runtime.job import job
from flows.runtime.publish import publish
from tasks.shop_settings import change_shop_settings, replace_shop_entries
from wishcraft.domain.languages import Language
from wishcraft.domain.share_links import MAX_LENGTH
from wishcraft.domain.text_forms import COLOUR, SHARE_URL_OR_DEFAULT, SHOP_ADDRESS_OR_DEFAULT
from wishcraft.reports.shop_settings import settings_page

Switch = Literal["keep", "on", "off"]
_VALUES: dict[Switch, bool | None] = {"keep": None, "on": True, "off": False}


@job("shop-settings")
async def shop_settings(
    shop: str,
    password_protection: Switch = "keep",  # noqa: S107  no password
    email_notifications: Switch = "keep",
    low_stock_threshold: Annotated[int, Field(ge=0, le=999_999)] | None = None,
    max_items_per_registry: Annotated[int, Field(ge=1, le=1000)] | None = None,
    cache_quota_entries: Annotated[int, Field(ge=0, le=10_000_000)] | None = None,
    cache_quota_bytes: Annotated[int, Field(ge=0, le=2**40)] | None = None,
    brand_colour: Annotated[str, Field(pattern=COLOUR)] | None = None,
    share_url: Annotated[str, Field(pattern=SHARE_URL_OR_DEFAULT, max_length=MAX_LENGTH)] | None = None,
    reply_to: Annotated[str, Field(pattern=SHOP_ADDRESS_OR_DEFAULT, max_length=254)] | None = None,
    mail_from: Annotated[str, Field(pattern=SHOP_ADDRESS_OR_DEFAULT, max_length=254)] | None = None,
    postal_address: Annotated[str, Field(max_length=300)] | None = None,
    language: Language | None = None,
) -> State[None]:
    """Show the settings of a shop, and change those that are given. A change takes effect at once.

    Args:
        shop: Domain of the shop, such as maple-and-pine.myshopify.com.
        password_protection: Whether a registry can be protected by an access code. Protected ones stay protected.
        email_notifications: Whether the shop's reminders and invitations are sent.
        low_stock_threshold: Items of which at most this many pieces are in stock are shown as low.
        max_items_per_registry: How many items a registry can have. Registries with more keep them.
        cache_quota_entries: How many registries and variants can be in Redis. Lower evicts variants first.
        cache_quota_bytes: How many bytes of Redis they can use, such as 536870912 for 512 MiB.
        brand_colour: The colour of the shop's mails, such as #2f6f5e.
        share_url: URL of a registry in the storefront, such as https://shop.example/gifts?list={slug}; or default.
        reply_to: E-mail address to which answers to the shop's mails go; or default, the sender.
        mail_from: Sender of the shop's mails, once `mail-domains` has verified its domain; or default, MAIL_FROM.
        postal_address: Postal address at the end of the shop's mails, in one line; or default, none.
        language: Language of the shop's mails and of the pages that their links open.
    """
    given = {
        "password_protection": _VALUES[password_protection],
        "email_notifications": _VALUES[email_notifications],
        "low_stock_threshold": low_stock_threshold,
        "max_items_per_registry": max_items_per_registry,
        "cache_quota_entries": cache_quota_entries,
        "cache_quota_bytes": cache_quota_bytes,
        "brand_colour": brand_colour,
        "language": None if language is None else language.value,
    }
    changes: dict[str, object] = {name: value for name, value in given.items() if value is not None}
    texts = {
        "share_url": share_url,
        "reply_to": reply_to,
        "mail_from": mail_from,
        "postal_address": postal_address,
    }
    changes |= {name: None if text == "default" else text for name, text in texts.items() if text}
    page = settings_page(shop, await change_shop_settings(shop, changes), is_change=bool(changes))
    state = await publish("shop-settings", page)  # before the entries are replaced, which may fail
    if replaced := await replace_shop_entries(shop):
        shown = "registry shows" if replaced == 1 else "registries show"
        return Completed(message=f"{page.verdict} {replaced:,} {shown} the change.")
    return state
