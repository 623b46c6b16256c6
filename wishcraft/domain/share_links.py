"""The template of a shop's share links: URLs of registries in its storefront. Pure."""

import re
from typing import Final

MAX_LENGTH: Final = 500
TEMPLATE: Final = re.compile(
    r"^https://([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]/"
    r"([A-Za-z0-9._~/?#@!$&()*+,;=:-]|%[0-9A-Fa-f]{2})*\{slug\}([A-Za-z0-9._~/?#@!$&()*+,;=:-]|%[0-9A-Fa-f]{2})*$"
)
"""`https`, a host name with a top-level domain, no user, no port, and `{slug}` once, after the host name."""


def share_template(own: str | None, domain: str, origin: str) -> str:
    """The template of a shop's share links: its own, or a page of the app proxy at its domain.

    Args:
        own: The template of the shop's settings.
        domain: The shop's `*.myshopify.com` domain.
        origin: Where the shop's pages are, with `{shop}` for the domain, as `SHOPIFY_ORIGIN` has it: Shopify serves
            them at `https://` and the domain, the simulator of the local stack below an address of its own.
    """
    pages = f"https://{domain}/"
    template = own or f"{pages}apps/registry/r/{{slug}}"
    is_at_domain = template.startswith(pages)
    return f"{origin.format(shop=domain)}/{template.removeprefix(pages)}" if is_at_domain else template


def check_template(template: str) -> str:
    """The template, if it is valid.

    Raises:
        ValueError: It is not; the message says what to write.
    """
    if not TEMPLATE.fullmatch(template):
        raise ValueError(
            "must be an https URL of the storefront with {slug} once, after the host name:"
            " https://shop.example/pages/registry?slug={slug}"
        )
    return template
