"""Decides by the outcomes of mails whether a shop may send, and which refused addresses are suppressed."""

import logging
from datetime import UTC, datetime
from typing import Final

from wishcraft.domain.mail_references import MailKind
from wishcraft.domain.mail_reputation import COMPLAINT_PERIOD, too_many_complaints, too_many_refused
from wishcraft.domain.mail_suppressions import SuppressionReason
from wishcraft.errors import TooManyAddressesRefused
from wishcraft.resources import Resources
from wishcraft.services.checkpoint import Changes
from wishcraft.store import audit_log, mail_events, outbox
from wishcraft.store.audit_log import Actor
from wishcraft.store.shops import ShopRef

_ACTOR: Final = "mail refusal"
_log: Final = logging.getLogger(__name__)


async def is_paused(resources: Resources, shop: ShopRef) -> bool:
    """Whether the shop is to send no mail because of complaints: else mailboxes refuse the mail of all shops."""
    since = datetime.now(UTC) - COMPLAINT_PERIOD
    async with resources.db.autocommit() as session:
        counts = await mail_events.count_complaints(session, shop.id, since)
        if paused := too_many_complaints(counts.complained, counts.with_outcome):
            # A mail server reports bounces and complaints alone, so most mails that were sent have no outcome.
            sent = await mail_events.count_sent(session, since, shop.id)
            counts = counts._replace(with_outcome=max(counts.with_outcome, sent))
            paused = too_many_complaints(counts.complained, counts.with_outcome)
    resources.counters.set("mail_paused", float(paused), shop=shop.domain)
    if paused:
        _log.warning(
            "%s sends no mail: %d of its %d mails of the last %d days were complained about. Runbook: mail.",
            *(shop.domain, counts.complained, counts.with_outcome, COMPLAINT_PERIOD.days),
        )
    return paused


def count_paused(changes: Changes, waiting: int) -> None:
    """Count the mails that wait because complaints pause their shop, and say so in the run's summary."""
    changes["paused"] += waiting
    changes.add_example("mails paused because of complaints (runbook: mail)", f"{waiting:,}")


async def judge_refusals(resources: Resources, kind: MailKind, since: datetime) -> None:
    """Suppress the addresses of all shops that the mail server refused since then, unless it refused most of them.

    Raises:
        TooManyAddressesRefused: It refused most recipients. No address is suppressed, and the mails stay due.
    """
    async with resources.db.transaction() as session:
        tried = await outbox.count_refusals(session, kind, since)
        if not too_many_refused(tried.refused, tried.sent):
            for shop_id, hashed in await outbox.suppress_refused(session, kind, since):
                details = {"reason": SuppressionReason.BOUNCE.value}
                actor = Actor(shop_id, _ACTOR)
                await audit_log.record(session, actor, "mail.suppressed", "address", hashed.hex(), details)
            return
    mailboxes = tried.refused + tried.sent
    raise TooManyAddressesRefused(
        f"the mail server says that {tried.refused:,} of {mailboxes:,} mailboxes do not exist"
    )
