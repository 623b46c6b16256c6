"""Client of DNS, for the records of sending domains."""

from typing import Final
from urllib.parse import urlsplit

import dns.asyncresolver
from dns.exception import DNSException
from dns.rdatatype import TXT
from dns.resolver import NXDOMAIN, NoAnswer

from wishcraft.errors import ConfigurationError, DnsUnavailable, in_words

_SECONDS: Final = 5.0
"""For one name, with all retries."""


class DnsClient:
    """Reads TXT records."""

    def __init__(self, server: str | None, *, seconds: float = _SECONDS) -> None:
        """Ask this DNS server, an IP address with or without a port, or without one that of the machine.

        An answer may take `seconds`.

        Raises:
            ConfigurationError: The address is malformed, or the machine has no DNS server.
        """
        self._seconds = seconds
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=server is None)
            if server is not None:
                parts = urlsplit(f"//{server}")
                self._resolver.port = parts.port or 53  # before the servers, which take it over
                self._resolver.nameservers = [parts.hostname or ""]
        except (DNSException, OSError, ValueError) as error:
            raise ConfigurationError(
                f"DNS_SERVER must be an IP address such as 192.0.2.1 or 192.0.2.1:53: {in_words(error)}"
            ) from None

    async def texts(self, name: str) -> list[str]:
        """The TXT records of a name, each as one text; none if there is no such name.

        Raises:
            DnsUnavailable: No DNS server answered.
        """
        try:
            answer = await self._resolver.resolve(name, TXT, lifetime=self._seconds, search=False)
        except (NXDOMAIN, NoAnswer):
            return []
        except (DNSException, OSError) as error:
            raise DnsUnavailable(f"no DNS server answered for {name}: {in_words(error)}") from None
        return [b"".join(record.strings).decode(errors="replace") for record in answer]
