"""Queries about what became of mails. Each is scoped to one shop, but those that count over all shops."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.mail_events import EVENTS_COME_WITHIN, MailOutcome
from wishcraft.domain.mail_references import MailKind
from wishcraft.store import locks
from wishcraft.store.outbox import TABLES
from wishcraft.store.schema import DeletedMail
from wishcraft.store.suppressions import hash_sql, lifted_sql

_LOCK: Final = {
    kind: text(f"""
        SELECT id, recipient, outcome, outcome_at FROM {table.__tablename__}
        WHERE shop_id = :shop_id AND id = ANY(:ids) ORDER BY id FOR UPDATE
    """)  # noqa: S608  names of tables
    for kind, table in TABLES.items()
}
_RECORD: Final = {
    kind: text(f"""
        UPDATE {table.__tablename__} m SET outcome = n.outcome, outcome_at = n.at
        FROM unnest(CAST(:ids AS bigint[]), CAST(:outcomes AS text[]), CAST(:times AS timestamptz[]))
            AS n (id, outcome, at)
        WHERE m.shop_id = :shop_id AND m.id = n.id
    """)  # noqa: S608  names of tables
    for kind, table in TABLES.items()
}
_SOFT: Final = text(f"""
    SELECT recipient, count(*) AS number FROM (
        SELECT shop_id, recipient, outcome_at FROM reminders
        WHERE shop_id = :shop_id AND recipient = ANY(:recipients) AND outcome = 'soft_bounced' AND outcome_at >= :since
        UNION ALL
        SELECT shop_id, recipient, outcome_at FROM invitations
        WHERE shop_id = :shop_id AND recipient = ANY(:recipients) AND outcome = 'soft_bounced' AND outcome_at >= :since
    ) bounced WHERE NOT {lifted_sql("bounced.shop_id", "bounced.recipient", "bounced.outcome_at")} GROUP BY recipient
""")  # noqa: S608  ours
# Reminders are kept by their registry: those of the last day are found by the index on their outcomes, or are few.
_COUNT: Final = text("""
    SELECT (SELECT count(*) FROM reminders WHERE outcome = 'delivered' AND outcome_at >= :since),
        (SELECT count(*) FROM invitations WHERE outcome = 'delivered' AND outcome_at >= :since),
        (SELECT count(*) FROM reminders WHERE outcome = :bounced AND outcome_at >= :since),
        (SELECT count(*) FROM invitations WHERE outcome = :bounced AND outcome_at >= :since)
""")
_COMPLAINTS: Final = text("""
    SELECT count(*), count(*) FILTER (WHERE outcome = 'complained') FROM (
        SELECT outcome FROM reminders WHERE shop_id = :shop_id AND outcome IS NOT NULL AND outcome_at >= :since
        UNION ALL
        SELECT outcome FROM invitations WHERE shop_id = :shop_id AND outcome IS NOT NULL AND outcome_at >= :since
    ) mails
""")
_SENT: Final = text("""
    SELECT count(*) FROM (
        SELECT shop_id FROM reminders WHERE state = 'sent' AND claimed_at >= :since
        UNION ALL
        SELECT shop_id FROM invitations WHERE state = 'sent' AND claimed_at >= :since
    ) sent
    WHERE CAST(:shop_id AS bigint) IS NULL OR shop_id = :shop_id
""")
# A mail server reports bounces and complaints only: a mail without an outcome counts when it was sent.
_MAILS: Final = """
    SELECT shop_id, outcome, coalesce(outcome_at, claimed_at, updated_at) AS at FROM reminders
    WHERE outcome IS NOT NULL OR state = 'sent'
    UNION ALL
    SELECT shop_id, outcome, coalesce(outcome_at, claimed_at, updated_at) AS at FROM invitations
    WHERE outcome IS NOT NULL OR state = 'sent'
"""
_COUNT_DAYS: Final = text(f"""
    SELECT ceil(extract(epoch FROM CAST(:end AS timestamptz) - at) / 86400)::int - 1 AS days_ago,
        count(*), count(*) FILTER (WHERE outcome = 'complained')
    FROM ({_MAILS}) mails
    WHERE at >= CAST(:end AS timestamptz) - :days * interval '24 hours' AND at < :end
    GROUP BY 1
""")  # noqa: S608  ours
_COUNT_SHOPS: Final = text(f"""
    SELECT s.domain, count(*), count(*) FILTER (WHERE outcome IN ('bounced', 'soft_bounced')),
        count(*) FILTER (WHERE outcome = 'rejected'), count(*) FILTER (WHERE outcome = 'complained')
    FROM ({_MAILS}) m JOIN shops s ON s.id = m.shop_id
    WHERE m.at >= :begin AND m.at < :end
    GROUP BY 1 ORDER BY 5 DESC, 3 DESC, 1
""")  # noqa: S608  ours


_KEEP_DELETED: Final = text(f"""
    WITH deleted AS (
        DELETE FROM reminders WHERE shop_id = :shop_id AND registry_id = :registry_id
        RETURNING '{MailKind.REMINDER}' AS kind, id, recipient, claimed_at
    ), also_deleted AS (
        DELETE FROM invitations WHERE shop_id = :shop_id AND registry_id = :registry_id
        RETURNING '{MailKind.INVITATION}' AS kind, id, recipient, claimed_at
    )
    INSERT INTO deleted_mails (shop_id, kind, mail_id, address_hash, expires_at)
    SELECT :shop_id, kind, id, {hash_sql("CAST(:shop_id AS bigint)", "recipient")}, claimed_at + :kept
    FROM (SELECT * FROM deleted UNION ALL SELECT * FROM also_deleted) mails
    WHERE claimed_at > now() - CAST(:kept AS interval)
""")  # noqa: S608  constants alone


class BounceCounts(NamedTuple):
    """Numbers of mails that were delivered, and of those that bounced."""

    delivered: int
    bounced: int


class ShopOutcomes(NamedTuple):
    """Number of a shop's mails that were sent, and of those that bounced, were rejected or complained about."""

    shop: str
    mails: int
    bounced: int
    """For good or for now."""
    rejected: int
    complained: int


class Complaints(NamedTuple):
    """Number of mails that were sent or have an outcome, and of those that were complained about."""

    with_outcome: int = 0
    complained: int = 0


@dataclass(frozen=True, slots=True)
class SentMail:
    """A mail, and what is known to have become of it."""

    recipient: str = field(repr=False)
    outcome: MailOutcome | None
    outcome_at: datetime | None


class RecordedOutcome(NamedTuple):
    """Outcome of a mail, and its time."""

    outcome: MailOutcome
    at: datetime


async def lock_mails(session: AsyncSession, kind: MailKind, shop_id: int, ids: Collection[int]) -> dict[int, SentMail]:
    """Lock these mails of the shop, in the order of their ids; those that exist, by id."""
    rows = await session.execute(_LOCK[kind], {"shop_id": shop_id, "ids": sorted(ids)})
    return {
        row_id: SentMail(recipient, MailOutcome(outcome) if outcome else None, at)
        for row_id, recipient, outcome, at in rows
    }


async def delete_mails(session: AsyncSession, shop_id: int, registry_id: int) -> None:
    """Delete the mails of a registry that is deleted; of those that events may still name, the address's hash stays.

    The caller holds the registry's lock. Runs that hold a mail are waited for.
    """
    parameters = {"shop_id": shop_id, "registry_id": registry_id, "kept": EVENTS_COME_WITHIN}
    await session.execute(_KEEP_DELETED, parameters)


async def find_deleted(session: AsyncSession, kind: MailKind, shop_id: int, ids: Collection[int]) -> dict[int, bytes]:
    """The hashes of the addresses of those of these mails that were deleted with their registry, by the mail's id."""
    query = select(DeletedMail.mail_id, DeletedMail.address_hash).where(
        DeletedMail.shop_id == shop_id, DeletedMail.kind == kind.value, DeletedMail.mail_id.in_(ids)
    )
    return {row.mail_id: bytes(row.address_hash) for row in await session.execute(query)} if ids else {}


async def record_outcomes(
    session: AsyncSession, kind: MailKind, shop_id: int, outcomes: Mapping[int, RecordedOutcome]
) -> None:
    """Store the outcomes of locked mails, by id."""
    parameters = {
        "shop_id": shop_id,
        "ids": list(outcomes),
        "outcomes": [each.outcome.value for each in outcomes.values()],
        "times": [each.at for each in outcomes.values()],
    }
    await session.execute(_RECORD[kind], parameters)


async def count_soft_bounces(
    session: AsyncSession, shop_id: int, recipients: Sequence[str], since: datetime
) -> dict[str, int]:
    """How many mails of the shop to each of these addresses bounced softly since then, and since the last lift.

    The caller has recorded its own. What another transaction counts is waited for: else neither might see enough.
    """
    await locks.serialise(session, f"soft-bounces:{shop_id}")
    rows = await session.execute(_SOFT, {"shop_id": shop_id, "recipients": list(recipients), "since": since})
    return {row.recipient: row.number for row in rows}


async def count_bounces(session: AsyncSession, since: datetime, bounced: MailOutcome) -> BounceCounts:
    """Of the mails of all shops: how many were delivered since then, and how many have this outcome."""
    row = (await session.execute(_COUNT, {"since": since, "bounced": bounced.value})).one()
    return BounceCounts(row[0] + row[1], row[2] + row[3])


async def count_complaints(session: AsyncSession, shop_id: int, since: datetime) -> Complaints:
    """Of the shop's mails, those with an outcome since then."""
    return Complaints._make((await session.execute(_COMPLAINTS, {"shop_id": shop_id, "since": since})).one())


async def count_sent(session: AsyncSession, since: datetime, shop_id: int | None = None) -> int:
    """How many mails of the shop, or of all, were sent since then. Reads all reminders: for rare use."""
    number: int = (await session.execute(_SENT, {"shop_id": shop_id, "since": since})).scalar_one()
    return number


async def count_complaints_by_day(session: AsyncSession, end: datetime, days: int) -> dict[int, Complaints]:
    """Of all shops' mails: the last `days` periods of 24 hours before `end`, by age in days (0 is the latest)."""
    rows = await session.execute(_COUNT_DAYS, {"end": end, "days": days})
    return {days_ago: Complaints(with_outcome, complained) for days_ago, with_outcome, complained in rows}


async def count_outcomes_by_shop(session: AsyncSession, begin: datetime, end: datetime) -> list[ShopOutcomes]:
    """The mails from `begin` to before `end`, those with most complaints and bounces first."""
    rows = await session.execute(_COUNT_SHOPS, {"begin": begin, "end": end})
    return [ShopOutcomes._make(row) for row in rows]
