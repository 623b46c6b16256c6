"""The sandbox's DNS server: the records of the domains that the local stack sends from, over UDP on 127.0.0.1."""

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from typing import Final, cast

import dns.message
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from dns.exception import DNSException
from dns.flags import AA
from dns.rcode import NXDOMAIN
from dns.rdataclass import IN
from dns.rdatatype import TXT
from dns.rrset import from_text_list

from deployments.sandbox.mailbox import DOMAIN, SELECTOR, SHOP, SHOP_DOMAIN
from wishcraft.domain.mail_domains import owner_name

_TTL_SECONDS: Final = 60
_MOST_IN_A_STRING: Final = 255


def local_records() -> dict[str, list[str]]:
    """TXT records by name. The policy of DMARC is `none`, so that the check has something to say."""
    key = generate_private_key(public_exponent=65_537, key_size=2_048).public_key()
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    dkim = [f"v=DKIM1; k=rsa; p={b64encode(der).decode()}"]
    return {
        DOMAIN: ["v=spf1 ip4:127.0.0.1 -all"],
        f"{SELECTOR}._domainkey.{DOMAIN}": dkim,
        f"_dmarc.{DOMAIN}": [f"v=DMARC1; p=none; rua=mailto:dmarc@{DOMAIN}"],
        owner_name(SHOP_DOMAIN): [f"shop={SHOP}"],
        f"{SELECTOR}._domainkey.{SHOP_DOMAIN}": dkim,
        f"_dmarc.{SHOP_DOMAIN}": ["v=DMARC1; p=quarantine"],
    }


class DnsProtocol(asyncio.DatagramProtocol):
    """Answers queries for TXT records; all other names do not exist."""

    def __init__(self, records: Mapping[str, list[str]]) -> None:
        self._records = records

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for the answers."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        """Answer one query; what is none is dropped."""
        try:
            query = dns.message.from_wire(data)
            question = query.question[0]
        except (DNSException, IndexError):
            return
        answer = dns.message.make_response(query)
        answer.flags |= AA
        texts = self._records.get(question.name.to_text(omit_final_dot=True).lower())
        if texts is None:
            answer.set_rcode(NXDOMAIN)
        elif question.rdtype == TXT:
            answer.answer = [from_text_list(question.name, _TTL_SECONDS, IN, TXT, list(map(_quote, texts)))]
        self._transport.sendto(answer.to_wire(), address)


async def start_dns_server(records: Mapping[str, list[str]], port: int = 0) -> asyncio.DatagramTransport:
    """Serve these records on 127.0.0.1; port 0 means any free port."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: DnsProtocol(records), local_addr=("127.0.0.1", port))
    return transport


def _quote(text: str) -> str:
    """The text as DNS writes it: quoted strings of at most 255 characters."""
    parts = (text[start : start + _MOST_IN_A_STRING] for start in range(0, len(text), _MOST_IN_A_STRING))
    return " ".join(f'"{part}"' for part in parts)
