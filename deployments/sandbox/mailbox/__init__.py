"""The sandbox's mail server: it receives mail over SMTP, delivers none, and shows it on a page.

Faults make it refuse or defer a message, hang, or close the connection, for one address or for all. A DNS server has
the records of the domain that the local stack sends from.
"""

from typing import Final

DOMAIN: Final = "wishcraft.example"
"""Of the addresses that the local stack sends from."""
SELECTOR: Final = "local"
"""Of the domain's DKIM key."""
