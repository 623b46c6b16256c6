"""Queries about reminders, each scoped to one shop.

Only `ClaimedReminder` and `ReminderRows` carry a recipient's address out of this module.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, NamedTuple

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.invitations import TRIES, InvitationAnswer
from wishcraft.domain.registries import RegistryStatus
from wishcraft.domain.reminders import ReminderKind
from wishcraft.store.engine import Database
from wishcraft.store.outbox import ClaimedMail
from wishcraft.store.schema import Invitation, Registry
from wishcraft.store.suppressions import hash_sql


class DueReminders(NamedTuple):
    """Number of due reminders of a registry that are not sent or claimed."""

    slug: str
    kind: ReminderKind
    event_date: date
    mails: int


class ReminderRows(NamedTuple):
    """Reminders column by column, as arrays for `unnest`."""

    registry_ids: list[int]
    dates: list[date]
    kinds: list[str]
    recipients: list[str]

    def add(self, registry_id: int, event_date: date, kind: ReminderKind, recipient: str) -> None:
        """Append a reminder."""
        self.registry_ids.append(registry_id)
        self.dates.append(event_date)
        self.kinds.append(kind)
        self.recipients.append(recipient)


@dataclass(frozen=True, slots=True)
class ClaimedReminder(ClaimedMail):
    """A claimed reminder."""

    slug: str
    event_date: date


_ROWS: Final = """
    SELECT w.* FROM unnest(
        CAST(:registry_ids AS bigint[]), CAST(:dates AS date[]), CAST(:kinds AS text[]), CAST(:recipients AS text[])
    ) AS w (registry_id, event_date, kind, recipient)
"""
# The lock waits for a deletion that is under way, and then skips the registry, which the foreign key would refuse. The
# locks are taken in the order of the ids, as in `registries.lock`.
_PLAN: Final = text(
    f"WITH wanted AS ({_ROWS})"  # noqa: S608  constants alone
    """
    INSERT INTO reminders (shop_id, registry_id, kind, event_date, recipient, message_id)
    SELECT :shop_id, w.registry_id, w.kind, w.event_date, w.recipient,
        '<' || gen_random_uuid() || '@' || CAST(:domain AS text) || '>'
    FROM wanted w JOIN registries r ON r.shop_id = :shop_id AND r.id = w.registry_id
    ORDER BY r.id FOR KEY SHARE OF r
    ON CONFLICT (registry_id, kind, event_date, recipient) DO NOTHING
    """
)
_FIND_DUE: Final = text(
    f"WITH wanted AS ({_ROWS})"  # noqa: S608  constants alone
    f"""
    SELECT r.slug, w.kind, w.event_date, count(*)
    FROM wanted w
    LEFT JOIN reminders m USING (registry_id, kind, event_date, recipient)
    JOIN registries r ON r.shop_id = :shop_id AND r.id = w.registry_id
    WHERE (m.id IS NULL OR (m.state = 'pending' AND m.attempts < {TRIES}))
      AND NOT EXISTS (
          SELECT FROM email_suppressions s WHERE s.shop_id = :shop_id
          AND s.address_hash = {hash_sql("CAST(:shop_id AS text)", "w.recipient")})
    GROUP BY r.slug, w.kind, w.event_date ORDER BY w.event_date, r.slug
    """
)
# A sendable reminder is pending, its event still has that date, its registry and shop are active, and its recipient has
# confirmed the address and is still named. The server has not left it without an answer too often.
_SENDABLE: Final = f"""
    FROM reminders m
    JOIN invitations n ON n.registry_id = m.registry_id AND n.recipient = m.recipient
        AND n.answer = 'confirmed' AND n.removed_at IS NULL
    JOIN unnest(CAST(:dates AS date[]), CAST(:kinds AS text[])) AS due (event_date, kind) USING (event_date, kind)
    JOIN registries r ON r.id = m.registry_id AND r.event_date = m.event_date AND r.status = 'active'
    JOIN shops s ON s.id = m.shop_id AND s.status = 'active'
    WHERE m.shop_id = :shop_id AND m.state = 'pending' AND m.attempts < {TRIES}
"""
_FIND_SENDABLE: Final = text(f"SELECT m.id {_SENDABLE} ORDER BY m.event_date, m.id")
_CLAIM: Final = text(
    f"""
    WITH mine AS (
        SELECT m.id, r.slug, r.customer_email, EXISTS (
            SELECT FROM email_suppressions x WHERE x.shop_id = m.shop_id
            AND x.address_hash = {hash_sql("m.shop_id", "m.recipient")}) AS suppressed
        {_SENDABLE} AND m.id = ANY(CAST(:ids AS bigint[]))
        ORDER BY m.id FOR UPDATE OF m SKIP LOCKED
    )
    UPDATE reminders m SET updated_at = now(),
        state = CASE WHEN mine.suppressed THEN 'suppressed' ELSE 'sending' END,
        claimed_at = CASE WHEN mine.suppressed THEN m.claimed_at ELSE now() END,
        last_error = CASE WHEN mine.suppressed THEN NULL ELSE m.last_error END,
        attempts = m.attempts + CASE WHEN mine.suppressed THEN 0 ELSE 1 END
    FROM mine WHERE m.id = mine.id
    RETURNING m.id, m.attempts, m.message_id, m.recipient, mine.suppressed, mine.customer_email, mine.slug, m.event_date
    """  # noqa: S608  constants alone
)
_FAIL_PAST: Final = text(
    """
    UPDATE reminders SET state = 'failed', updated_at = now(),
        last_error = concat_ws('; ', last_error, 'the day of the event is over')
    WHERE shop_id = :shop_id AND state IN ('pending', 'sending') AND event_date < :today
    """
)


async def iter_due_batches(
    db: Database, shop_id: int, due: Mapping[date, ReminderKind], size: int
) -> AsyncIterator[ReminderRows]:
    """Yield the due reminders of the shop's active registries, sent or not, `size` at a time.

    Reminders are due to the addresses that their owners have confirmed.

    Reads each batch in its own unit of work.
    """
    after = 0
    while True:
        query = (
            select(Invitation.id, Invitation.registry_id, Registry.event_date, Invitation.recipient)
            .join(Registry, Registry.id == Invitation.registry_id)
            .where(
                Registry.shop_id == shop_id,
                Registry.status == RegistryStatus.ACTIVE,
                Registry.event_date.in_(due),
                Invitation.answer == InvitationAnswer.CONFIRMED,
                Invitation.removed_at.is_(None),
                Invitation.id > after,
            )
            .order_by(Invitation.id)
            .limit(size)
        )
        async with db.repeatable_read() as session:
            rows = (await session.execute(query)).all()
        if not rows:
            return
        batch = ReminderRows([], [], [], [])
        for _, registry_id, event_date, recipient in rows:
            assert event_date  # noqa: S101  the query asks for dates
            batch.add(registry_id, event_date, due[event_date], recipient)
        yield batch
        after = rows[-1][0]


async def plan(session: AsyncSession, shop_id: int, batch: ReminderRows, domain: str) -> None:
    """Insert the reminders that do not exist yet, each with a permanent `Message-ID` at `domain`."""
    await session.execute(_PLAN, {"shop_id": shop_id, "domain": domain, **batch._asdict()})


async def find_due(session: AsyncSession, shop_id: int, batch: ReminderRows) -> list[DueReminders]:
    """Numbers of reminders that would be sent, by registry and kind, next event first."""
    rows = await session.execute(_FIND_DUE, {"shop_id": shop_id, **batch._asdict()})
    return [DueReminders(slug, ReminderKind(kind), event_date, mails) for slug, kind, event_date, mails in rows]


async def find_sendable(session: AsyncSession, shop_id: int, due: Mapping[date, ReminderKind]) -> list[int]:
    """The ids of the reminders that can be sent now, next event first."""
    return list(await session.scalars(_FIND_SENDABLE, _due_parameters(shop_id, due)))


async def claim_batch(
    session: AsyncSession, shop_id: int, due: Mapping[date, ReminderKind], ids: Sequence[int]
) -> list[ClaimedReminder]:
    """Set those of the reminders that can still be sent to `sending`, or to `suppressed` if their address is.

    Skips rows that another process has locked or handled. After the commit the caller sends each returned reminder and
    calls `store.outbox.record_state`.
    """
    parameters = {**_due_parameters(shop_id, due), "ids": list(ids)}
    return [ClaimedReminder(*row) for row in await session.execute(_CLAIM, parameters)]


async def fail_past_events(session: AsyncSession, shop_id: int, today: date) -> None:
    """Set reminders of past event dates that are `pending` or `sending` to `failed`."""
    await session.execute(_FAIL_PAST, {"shop_id": shop_id, "today": today})


def _due_parameters(shop_id: int, due: Mapping[date, ReminderKind]) -> dict[str, Any]:
    return {"shop_id": shop_id, "dates": list(due), "kinds": [kind.value for kind in due.values()]}
