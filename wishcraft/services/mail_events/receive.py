"""Receipt of mail events: they are stored in the inbox of webhooks, from which the consumer handles them."""

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

import orjson

from wishcraft.domain.batches import batches
from wishcraft.domain.mail_events import TOPIC, MailEvent
from wishcraft.services.webhooks.inbox import Inbox
from wishcraft.store import shops
from wishcraft.store.engine import Database
from wishcraft.store.webhook_inbox import Received

BY_SMTP: Final = "smtp"
"""The provider of events that came as bounces: a mail server reports no delivery."""
_ID_DIGITS: Final = 32


async def store_events(db: Database, inbox: Inbox, provider: str, events: Sequence[MailEvent]) -> int:
    """Store the events, each once however often it comes; how many are new. They are committed then.

    An event of a shop that was erased is left out.

    Raises:
        DatabaseUnavailable: Not all are known to be stored.
        DatabaseRefused: PostgreSQL refuses a value.
    """
    async with db.autocommit() as session:
        domains = await shops.find_domains(session, {event.reference.shop_id for event in events})
    rows = [
        _row(domains[event.reference.shop_id], provider, event)
        for event in events
        if event.reference.shop_id in domains
    ]
    new = 0
    for batch in batches(rows, inbox.limits.max_rows):  # a request must not take all places of those that wait
        new += sum(await asyncio.gather(*map(inbox.receive, batch)))
    return new


def _row(shop_domain: str, provider: str, event: MailEvent) -> Received:
    named = f"{event.event_id}\n{event.kind}\n{event.reference}".encode()
    return Received(
        shop_domain=shop_domain,
        topic=TOPIC,
        event_id=None,
        webhook_id=f"{provider}:{sha256(named).hexdigest()[:_ID_DIGITS]}",
        triggered_at=event.occurred_at,
        api_version=None,
        payload=orjson.dumps({**event.to_json(), "provider": provider}),
        signature=b"",
    )
