"""Checks the DNS records of sending domains, and records which shops may send from their own."""

from collections.abc import Sequence
from typing import Final

from wishcraft.domain.mail_domains import (
    MAX_SPF_LOOKUPS,
    CheckedRecord,
    check_dkim,
    check_dmarc,
    check_owner,
    check_spf,
    dmarc_names,
    domain_of,
    find_dmarc,
    find_spf,
    is_verified,
    owner_name,
    spf_terms,
    unanswered,
)
from wishcraft.errors import DnsUnavailable
from wishcraft.mail.dns_client import DnsClient
from wishcraft.resources import Resources
from wishcraft.store import shops

_MOST_SPF_RECORDS: Final = 2 * MAX_SPF_LOOKUPS
_MOST_UNANSWERED: Final = 10
"""If DNS answers for none of this many domains, it is at fault, not they."""


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
    spf = check_spf(domain, texts, await _count_lookups(dns, texts), include)
    return [spf, *await _check_dkim(dns, domain, selectors), await _check_dmarc(dns, domain)]


async def check_senders_of_shops(
    resources: Resources, dns: DnsClient, selectors: Sequence[str]
) -> dict[str, list[CheckedRecord]]:
    """Check the domain of each shop that has set `mail_from`, and record whether the shop may send from it.

    Bounces go to a domain of ours, so SPF is not checked.

    Returns:
        The records by domain.

    Raises:
        DnsUnavailable: No DNS server answered for any shop. If it is for some alone, these are as before.
    """
    checked: dict[str, list[CheckedRecord]] = {}
    failures, is_answered = list[DnsUnavailable](), False
    async with resources.db.repeatable_read() as session:
        active = await shops.find_active(session)
    for shop in active:
        domain = domain_of(shop.settings.mail_from) if shop.settings.mail_from else None
        try:
            records = await _check_shop(dns, domain, shop.domain, selectors) if domain else []
        except DnsUnavailable as error:  # of a domain that its owner neglects: it must not keep others from a check
            failures.append(error)
            if not is_answered and len(failures) >= _MOST_UNANSWERED:
                raise
            checked.setdefault(domain or "", []).append(unanswered(domain or ""))
            continue
        is_answered |= domain is not None
        async with resources.db.transaction() as session:
            await shops.set_verified_mail_domain(session, shop.id, domain if is_verified(records) else None)
        if domain:
            checked.setdefault(domain, []).extend(records)
    if failures and not is_answered:
        raise failures[0]
    return checked


async def _check_shop(dns: DnsClient, domain: str, shop_domain: str, selectors: Sequence[str]) -> list[CheckedRecord]:
    owner = check_owner(domain, shop_domain, await dns.texts(owner_name(domain)))
    return [owner, *await _check_dkim(dns, domain, selectors), await _check_dmarc(dns, domain)]


async def _check_dkim(dns: DnsClient, domain: str, selectors: Sequence[str]) -> list[CheckedRecord]:
    names = [f"{selector}._domainkey.{domain}" for selector in selectors]
    return [check_dkim(name, await dns.texts(name)) for name in names]


async def _count_lookups(dns: DnsClient, texts: Sequence[str]) -> int:
    """Count the DNS queries of a receiver for the SPF record among the texts, with its includes; stops at too many."""
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
