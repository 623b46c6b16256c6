"""The sandbox's mail server: it receives mail over SMTP, delivers none, and shows it on a page.

Faults make it refuse or defer a message, hang, or close the connection, for one address or for all. A DNS server has
the records of the domain that the local stack sends from, and of one from which a demo shop may.
"""

from typing import Final

DOMAIN: Final = "wishcraft.example"
"""Of the addresses that the local stack sends from."""
SHOP_DOMAIN: Final = "maple-and-pine.example"
"""From which the first demo shop may send."""
SHOP: Final = "maple-and-pine.myshopify.com"
SELECTOR: Final = "local"
"""Of the domain's DKIM key."""
