"""The task of the job `mail-domains`."""

from collections.abc import Sequence

from tasks.runtime.retries import task
from wishcraft.domain.mail_domains import SPF_OF_PROVIDER, domain_of, is_domain, is_selector
from wishcraft.errors import QueryRefused
from wishcraft.mail.dns_client import DnsClient
from wishcraft.reports.mail_domains import mail_domains_page
from wishcraft.reports.page import Page
from wishcraft.resources import open_resources
from wishcraft.services.mail_domains.check import check_domain, check_senders_of_shops
from wishcraft.settings import settings
from wishcraft.urls.mail import mail_scheme


@task("check the records of mail domains")
async def check_mail_domains(domains: Sequence[str], selectors: Sequence[str]) -> Page:
    """Check the records of domains. Without arguments, also record which shops may send from their own domain.

    Args:
        domains: Any domains; without any, that of MAIL_FROM.
        selectors: DKIM selectors; without any, those of DKIM_SELECTORS.

    Raises:
        QueryRefused: A name cannot be a domain or a selector.
        ConfigurationError: DNS_SERVER is malformed.
        DnsUnavailable: No DNS server answered.
    """
    current = settings()
    is_whole = not (domains or selectors)
    domains = _cleaned(domains) or _cleaned([domain_of(current.mail_from or "")])
    selectors = _cleaned(selectors) or _cleaned(current.dkim_selectors.split(","))
    for names, is_valid, what in ((domains, is_domain, "domain"), (selectors, is_selector, "DKIM selector")):
        if wrong := [name for name in names if not is_valid(name)]:
            raise QueryRefused(f"{wrong[0]!r} cannot be a {what}")
    include = SPF_OF_PROVIDER.get(mail_scheme(current.mail_url) or "")
    dns = DnsClient(current.dns_server)
    checked = {domain: await check_domain(dns, domain, selectors, include) for domain in domains}
    if is_whole:
        async with open_resources() as resources:
            for domain, records in (await check_senders_of_shops(resources, dns, selectors)).items():
                checked[domain] = [*checked.get(domain, []), *records]
    return mail_domains_page(checked)


def _cleaned(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(cleaned for name in names if (cleaned := name.strip().rstrip(".").lower())))
