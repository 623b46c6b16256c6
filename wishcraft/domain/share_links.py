"""The template of a shop's share links: URLs of registries in its storefront. Pure."""

import re
from typing import Final

MAX_LENGTH: Final = 500
TEMPLATE: Final = re.compile(
    r"^https://([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]/"
    r"([A-Za-z0-9._~/?#@!$&()*+,;=:-]|%[0-9A-Fa-f]{2})*\{slug\}([A-Za-z0-9._~/?#@!$&()*+,;=:-]|%[0-9A-Fa-f]{2})*$"
)
"""`https`, a host name with a top-level domain, no user, no port, and `{slug}` once, after the host name."""


def default_template(domain: str) -> str:
    """The template of a shop without one of its own: a page of the app proxy at its domain."""
    return f"https://{domain}/apps/registry/r/{{slug}}"


def at_origin(share_url: str, domain: str, origin: str) -> str:
    """The share link with the shop's pages at `origin`; unchanged if it leads to another host.

    Shopify serves them at `https://` and the domain, the simulator of the local stack below an address of its own.
    """
    own = f"https://{domain}/"
    return f"{origin}/{share_url.removeprefix(own)}" if share_url.startswith(own) else share_url


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
