"""The job `mail-domains`."""

from prefect import State

from flows.runtime.job import job
from flows.runtime.publish import publish
from tasks.mail_domains import check_mail_domains


@job("mail-domains")
async def mail_domains(domains: list[str] | None = None, selectors: list[str] | None = None) -> State[None]:
    """Check the DNS records without which mailboxes refuse or hide mail: SPF, DKIM and DMARC. Says what is missing.

    If the form is empty, also decide which shops send from their own domain: those whose domain names them and has a
    DKIM key of DKIM_SELECTORS.

    Args:
        domains: Domains of senders, such as example.com. That of MAIL_FROM if empty.
        selectors: DKIM selectors that the mail provider signs with, such as s1. Those of DKIM_SELECTORS if empty.
    """
    return await publish("mail-domains", await check_mail_domains(domains or [], selectors or []))
