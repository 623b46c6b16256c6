"""Queries about reminders, each scoped to one shop, except those that count rejections over all shops.

Only `ClaimedReminder` carries a recipient's address out of this module.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.registries import RegistryStatus
from wishcraft.domain.reminders import ReminderKind, recipients
from wishcraft.store.engine import Database
from wishcraft.store.schema import Registry, Reminder, Shop, ShopSettings
from wishcraft.store.schema.mail import ReminderState


class Sender(NamedTuple):
    """The shop's values that its mails show."""

    name: str
    timezone: str
    settings: ShopSettings


class DueReminders(NamedTuple):
    """Number of due reminders of a registry that are not sent or claimed."""

    slug: str
    kind: ReminderKind
    event_date: date
    mails: int


class DeliveryCounts(NamedTuple):
    """Number of sent reminders, and of those whose address was rejected."""

    sent: int
    refused: int


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
class ClaimedReminder:
    """A reminder that this run has claimed for sending, or that was found to have a suppressed address."""

    id: int
    attempt: int
    message_id: str
    slug: str
    event_date: date
    recipient: str = field(repr=False)
    suppressed: bool


_ROWS: Final = """
    SELECT w.* FROM unnest(
        CAST(:registry_ids AS bigint[]), CAST(:dates AS date[]), CAST(:kinds AS text[]), CAST(:recipients AS text[])
    ) AS w (registry_id, event_date, kind, recipient)
"""
_PLAN: Final = text(
    f"WITH wanted AS ({_ROWS})"  # noqa: S608  constants alone
    """
    INSERT INTO reminders (shop_id, registry_id, kind, event_date, recipient, message_id)
    SELECT :shop_id, w.registry_id, w.kind, w.event_date, w.recipient,
        '<' || gen_random_uuid() || '@' || CAST(:domain AS text) || '>'
    FROM wanted w JOIN registries r ON r.shop_id = :shop_id AND r.id = w.registry_id
    ON CONFLICT (registry_id, kind, event_date, recipient) DO NOTHING
    """
)
_FIND_DUE: Final = text(
    f"WITH wanted AS ({_ROWS})"  # noqa: S608  constants alone
    """
    SELECT r.slug, w.kind, w.event_date, count(*)
    FROM wanted w
    LEFT JOIN reminders m USING (registry_id, kind, event_date, recipient)
    JOIN registries r ON r.shop_id = :shop_id AND r.id = w.registry_id
    WHERE (m.id IS NULL OR m.state = 'pending')
      AND NOT EXISTS (
          SELECT FROM email_suppressions s WHERE s.shop_id = :shop_id
          AND s.address_hash = sha256(convert_to(CAST(:shop_id AS text) || ':' || w.recipient, 'UTF8')))
    GROUP BY r.slug, w.kind, w.event_date ORDER BY w.event_date, r.slug
    """
)
# A sendable reminder is pending, its event still has that date, and its registry and shop are active.
_SENDABLE: Final = """
    FROM reminders m
    JOIN unnest(CAST(:dates AS date[]), CAST(:kinds AS text[])) AS due (event_date, kind) USING (event_date, kind)
    JOIN registries r ON r.id = m.registry_id AND r.event_date = m.event_date AND r.status = 'active'
    JOIN shops s ON s.id = m.shop_id AND s.status = 'active'
    WHERE m.shop_id = :shop_id AND m.state = 'pending'
"""
_FIND_SENDABLE: Final = text(f"SELECT m.id {_SENDABLE} ORDER BY m.event_date, m.id")
_CLAIM: Final = text(
    f"""
    WITH mine AS (
        SELECT m.id, r.slug, EXISTS (
            SELECT FROM email_suppressions x WHERE x.shop_id = m.shop_id
            AND x.address_hash = sha256(convert_to(m.shop_id || ':' || m.recipient, 'UTF8'))) AS suppressed
        {_SENDABLE} AND m.id = ANY(CAST(:ids AS bigint[]))
        ORDER BY m.id FOR UPDATE OF m SKIP LOCKED
    )
    UPDATE reminders m SET updated_at = now(),
        state = CASE WHEN mine.suppressed THEN 'suppressed' ELSE 'sending' END,
        last_error = CASE WHEN mine.suppressed THEN NULL ELSE m.last_error END,
        attempts = m.attempts + CASE WHEN mine.suppressed THEN 0 ELSE 1 END
    FROM mine WHERE m.id = mine.id
    RETURNING m.id, m.attempts, m.message_id, mine.slug, m.event_date, m.recipient, mine.suppressed
    """  # noqa: S608  constants alone
)
_REJECTED: Final = "refused: "
"""Prefix of `last_error` of a reminder whose address was rejected."""
_COUNT_DELIVERIES: Final = text(
    """
    SELECT count(*) FILTER (WHERE state = 'sent'), count(*) FILTER (WHERE state = 'pending' AND last_error ^@ :refused)
    FROM reminders WHERE updated_at >= :since
    """
)
_SUPPRESS_REJECTED: Final = text(
    """
    WITH refused AS (
        UPDATE reminders SET state = 'suppressed', updated_at = now()
        WHERE state = 'pending' AND last_error ^@ :refused AND updated_at >= :since
        RETURNING shop_id, recipient
    )
    INSERT INTO email_suppressions (shop_id, address_hash, reason)
    SELECT DISTINCT shop_id, sha256(convert_to(shop_id || ':' || recipient, 'UTF8')), 'bounce' FROM refused
    ON CONFLICT (shop_id, address_hash) DO NOTHING
    """
)
_FAIL_PAST: Final = text(
    """
    UPDATE reminders SET state = 'failed', updated_at = now(),
        last_error = concat_ws('; ', last_error, 'the day of the event is over')
    WHERE shop_id = :shop_id AND state IN ('pending', 'sending') AND event_date < :today
    """
)


async def find_sender(session: AsyncSession, shop_id: int) -> Sender | None:
    """The shop as its mails show it, active or not; None if it does not exist."""
    query = select(Shop.name, Shop.timezone, Shop.settings).where(Shop.id == shop_id)
    row = (await session.execute(query)).one_or_none()
    return Sender(*row) if row else None


async def iter_due_batches(
    db: Database, shop_id: int, due: Mapping[date, ReminderKind], size: int
) -> AsyncIterator[ReminderRows]:
    """Yield the due reminders of the shop's active registries, sent or not, for `size` registries at a time.

    Reads each batch in its own unit of work.
    """
    after = 0
    while True:
        query = (
            select(Registry.id, Registry.event_date, Registry.customer_email, Registry.co_registrants)
            .where(
                Registry.shop_id == shop_id,
                Registry.status == RegistryStatus.ACTIVE,
                Registry.event_date.in_(due),
                Registry.id > after,
            )
            .order_by(Registry.id)
            .limit(size)
        )
        async with db.repeatable_read() as session:
            rows = (await session.execute(query)).all()
        if not rows:
            return
        batch = ReminderRows([], [], [], [])
        for registry_id, event_date, registrant, others in rows:
            assert event_date  # noqa: S101  the query asks for dates
            for recipient in recipients([registrant, *(other["email"] for other in others)]):
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
    calls `record_outcome`.
    """
    parameters = {**_due_parameters(shop_id, due), "ids": list(ids)}
    return [ClaimedReminder(*row) for row in await session.execute(_CLAIM, parameters)]


async def record_outcome(
    session: AsyncSession, shop_id: int, claimed: ClaimedReminder, state: ReminderState, error: str | None = None
) -> None:
    """Store the outcome of a claimed reminder, unless another process has claimed it since."""
    query = (
        update(Reminder)
        .where(
            Reminder.shop_id == shop_id,
            Reminder.id == claimed.id,
            Reminder.state == ReminderState.SENDING,
            Reminder.attempts == claimed.attempt,
        )
        .values(state=state, last_error=error)
    )
    await session.execute(query)


async def record_rejection(session: AsyncSession, shop_id: int, claimed: ClaimedReminder, error: str) -> None:
    """Set a claimed reminder back to `pending`, and record that its address was rejected."""
    await record_outcome(session, shop_id, claimed, ReminderState.PENDING, f"{_REJECTED}{error}")


async def count_deliveries(session: AsyncSession, since: datetime) -> DeliveryCounts:
    """Numbers of reminders sent and rejected since then, over all shops."""
    return DeliveryCounts(*(await session.execute(_COUNT_DELIVERIES, {"since": since, "refused": _REJECTED})).one())


async def suppress_rejected(session: AsyncSession, since: datetime) -> None:
    """Suppress the addresses that were rejected since then, each for its shop, over all shops."""
    await session.execute(_SUPPRESS_REJECTED, {"since": since, "refused": _REJECTED})


async def release_claims(session: AsyncSession, shop_id: int) -> None:
    """Set `sending` reminders back to `pending`; the caller must know that no run is sending them."""
    query = (
        update(Reminder)
        .where(Reminder.shop_id == shop_id, Reminder.state == ReminderState.SENDING)
        .values(state=ReminderState.PENDING, last_error="the run that was sending it died")
    )
    await session.execute(query)


async def count_held(session: AsyncSession, shop_id: int) -> int:
    """Number of `sending` reminders; these are held if, as the caller knows, no run is sending them."""
    query = "SELECT count(*) FROM reminders WHERE shop_id = :shop_id AND state = 'sending'"
    return int((await session.execute(text(query), {"shop_id": shop_id})).scalar_one())


async def fail_past_events(session: AsyncSession, shop_id: int, today: date) -> None:
    """Set reminders of past event dates that are `pending` or `sending` to `failed`."""
    await session.execute(_FAIL_PAST, {"shop_id": shop_id, "today": today})


def _due_parameters(shop_id: int, due: Mapping[date, ReminderKind]) -> dict[str, Any]:
    return {"shop_id": shop_id, "dates": list(due), "kinds": [kind.value for kind in due.values()]}
