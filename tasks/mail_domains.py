"""The task of the job `mail-domains`."""

from collections.abc import Sequence

from tasks.runtime.retries import task
from wishcraft.domain.mail_domains import SPF_OF_PROVIDER, is_domain, is_selector
from wishcraft.errors import QueryRefused
from wishcraft.mail.dns_client import DnsClient
from wishcraft.mail.providers.configuration import mail_scheme, parse_sender
from wishcraft.reports.mail_domains import mail_domains_page
from wishcraft.reports.page import Page
from wishcraft.services.mail_domains.check import check_domain
from wishcraft.settings import settings


@task("check the records of mail domains")
async def check_mail_domains(domains: Sequence[str], selectors: Sequence[str]) -> Page:
    """Check these domains, by default that of MAIL_FROM, with these selectors, by default those of DKIM_SELECTORS.

    Raises:
        QueryRefused: A name cannot be a domain or a selector, or MAIL_FROM is not set.
        ConfigurationError: DNS_SERVER or MAIL_FROM is malformed.
        DnsUnavailable: No DNS server answered.
    """
    current = settings()
    domains = _cleaned(domains) or _cleaned([parse_sender(current.mail_from).rpartition("@")[2]])
    selectors = _cleaned(selectors) or _cleaned(current.dkim_selectors.split(","))
    if not domains:
        raise QueryRefused("no domain to check: name one, or set MAIL_FROM")
    for names, is_valid, what in ((domains, is_domain, "domain"), (selectors, is_selector, "DKIM selector")):
        if wrong := [name for name in names if not is_valid(name)]:
            raise QueryRefused(f"{wrong[0]!r} cannot be a {what}")
    include = SPF_OF_PROVIDER.get(mail_scheme(current.mail_url) or "")
    dns = DnsClient(current.dns_server)
    return mail_domains_page({domain: await check_domain(dns, domain, selectors, include) for domain in domains})


def _cleaned(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(cleaned for name in names if (cleaned := name.strip().rstrip(".").lower())))
