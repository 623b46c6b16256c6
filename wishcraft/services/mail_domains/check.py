"""Checks the DNS records of a sending domain."""

from collections.abc import Sequence
from typing import Final

from wishcraft.domain.mail_domains import (
    MAX_SPF_LOOKUPS,
    CheckedRecord,
    check_dkim,
    check_dmarc,
    check_spf,
    dmarc_names,
    find_dmarc,
    find_spf,
    spf_terms,
)
from wishcraft.mail.dns_client import DnsClient

_MOST_SPF_RECORDS: Final = 2 * MAX_SPF_LOOKUPS


async def check_domain(
    dns: DnsClient, domain: str, selectors: Sequence[str], include: str | None
) -> list[CheckedRecord]:
    """Check SPF, the DKIM keys of these selectors, and DMARC.

    Args:
        dns: Where the records are read.
        domain: A valid domain, in lower case.
        selectors: Valid DKIM selectors.
        include: What the SPF record must include; None if that is not known.

    Raises:
        DnsUnavailable: No DNS server answered.
    """
    texts = await dns.texts(domain)
    checked = [check_spf(domain, texts, await _count_lookups(dns, texts), include)]
    for selector in selectors:
        name = f"{selector}._domainkey.{domain}"
        checked.append(check_dkim(name, await dns.texts(name)))
    return [*checked, await _check_dmarc(dns, domain)]


async def _count_lookups(dns: DnsClient, texts: Sequence[str]) -> int:
    """How often a receiver asks DNS for the SPF record among the texts, with what it includes; stops when too often."""
    waiting, lookups, seen = find_spf(texts)[:1], 0, set[str]()
    while waiting and len(seen) < _MOST_SPF_RECORDS:
        terms = spf_terms(waiting.pop())
        lookups += terms.lookups
        for domain in terms.included:
            if domain not in seen:
                seen.add(domain)
                waiting += find_spf(await dns.texts(domain))[:1]
    return lookups


async def _check_dmarc(dns: DnsClient, domain: str) -> CheckedRecord:
    first, *parents = dmarc_names(domain)
    texts = await dns.texts(first)
    if not find_dmarc(texts):
        for name in parents:
            if find_dmarc(found := await dns.texts(name)):
                return check_dmarc(name, found, of_parent=True)
    return check_dmarc(first, texts)
