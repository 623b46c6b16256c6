"""Queries about the outbox: the rows of `reminders` and of `invitations`, which share the columns of `OutboxMail`.

Each is scoped to one shop, except those that count and suppress refused addresses.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    Boolean,
    ColumnElement,
    LargeBinary,
    and_,
    case,
    func,
    literal,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.addresses import normalise
from wishcraft.domain.invitations import LIFETIME
from wishcraft.domain.mail_references import MailKind
from wishcraft.domain.mail_suppressions import SuppressionReason
from wishcraft.store.schema import EmailSuppression, Invitation, Reminder
from wishcraft.store.schema.mail import MailState
from wishcraft.store.suppressions import hash_sql, lifted_sql

TABLES: Final[Mapping[MailKind, type[Reminder] | type[Invitation]]] = {
    MailKind.REMINDER: Reminder,
    MailKind.INVITATION: Invitation,
}
"""The table of each kind of mail."""
_WAS_LIFTED: Final = literal_column(
    lifted_sql("invitations.shop_id", "invitations.recipient", "invitations.outcome_at"), Boolean
)
_REFUSED: Final = "refused: "
"""Prefix of `last_error` of a mail whose address was refused."""


@dataclass(frozen=True, slots=True)
class ClaimedMail:
    """A row that this run has claimed for sending, or that was found to have a suppressed address."""

    id: int
    attempt: int
    message_id: str
    recipient: str = field(repr=False)
    suppressed: bool
    registrant: str = field(repr=False)
    """The registrant's address as it was entered."""

    @property
    def is_to_registrant(self) -> bool:
        """Whether it goes to the registrant, not to a co-registrant."""
        return self.recipient == normalise(self.registrant)


class RefusalCounts(NamedTuple):
    """Number of sent mails, and of those whose address was refused."""

    sent: int
    refused: int


async def find_time(session: AsyncSession) -> datetime:
    """The time by PostgreSQL's clock, which sets the time of a claim: that of a worker may be ahead of it."""
    return (await session.execute(select(func.now()))).scalar_one()


def sending_lock(kind: MailKind) -> str:
    """The name of the lock by which one run at a time sends a shop's mails of this kind."""
    return TABLES[kind].__tablename__


async def record_state(
    session: AsyncSession,
    kind: MailKind,
    shop_id: int,
    claimed: ClaimedMail,
    state: MailState,
    error: str | None,
    provider: str | None,
) -> None:
    """Store the state in which a claimed mail is now at its provider, unless another process has claimed it since."""
    values: dict[Any, Any] = {"state": state, "last_error": error, "provider": provider}
    if state is MailState.SENT:
        values |= _sent(kind)
    await _update_claimed(session, kind, shop_id, claimed, **values)


async def requeue(
    session: AsyncSession,
    kind: MailKind,
    shop_id: int,
    claimed: ClaimedMail,
    error: str,
    provider: str | None = None,
) -> None:
    """Set a claimed mail back to `pending`, as `record_state`, and do not count the try, which sent nothing."""
    values = {
        "state": MailState.PENDING,
        "last_error": error,
        "attempts": TABLES[kind].attempts - 1,
        "provider": provider,
    }
    await _update_claimed(session, kind, shop_id, claimed, **values)


async def record_refusal(
    session: AsyncSession, kind: MailKind, shop_id: int, claimed: ClaimedMail, error: str, provider: str
) -> None:
    """As `requeue`, and record that the address was refused."""
    await requeue(session, kind, shop_id, claimed, f"{_REFUSED}{error}", provider)


async def settle_accepted(session: AsyncSession, kind: MailKind, shop_id: int) -> None:
    """Set mails of which it was not known whether they had been accepted to `sent`, if an event has an outcome of them.

    Or if an invitation was answered. An outcome of before a lift is that of another mail. The caller must know that no
    run is sending them.
    """
    table = TABLES[kind]
    waits: ColumnElement[bool] = table.state == MailState.PENDING
    arrived: ColumnElement[bool] = table.outcome.is_not(None)
    if table is Invitation:  # the first as the index has them
        waits = and_(waits, Invitation.answer.is_(None), Invitation.removed_at.is_(None))
        arrived = or_(and_(arrived, ~_WAS_LIFTED), Invitation.answer.is_not(None))
    query = (
        update(table)
        .where(
            table.shop_id == shop_id,
            or_(table.state == MailState.SENDING, waits),
            table.attempts > 0,
            arrived,
        )
        .values({"state": MailState.SENT, "last_error": None} | _sent(kind))
    )
    await session.execute(query)


async def release_claims(session: AsyncSession, kind: MailKind, shop_id: int) -> None:
    """Set `sending` mails back to `pending`; the caller must know that no run is sending them."""
    table = TABLES[kind]
    query = (
        update(table)
        .where(table.shop_id == shop_id, table.state == MailState.SENDING)
        .values(state=MailState.PENDING, last_error="the run that was sending it died")
    )
    await session.execute(query)


async def count_held(session: AsyncSession, kind: MailKind, shop_id: int) -> int:
    """Number of `sending` mails; these are held if, as the caller knows, no run is sending them."""
    table = TABLES[kind]
    query = select(func.count()).where(table.shop_id == shop_id, table.state == MailState.SENDING)
    return (await session.execute(query)).scalar_one()


async def count_refusals(session: AsyncSession, kind: MailKind, since: datetime) -> RefusalCounts:
    """Numbers of mails that were claimed since then and sent, or refused, over all shops."""
    table = TABLES[kind]
    query = select(
        func.count().filter(table.state == MailState.SENT),
        func.count().filter(table.state == MailState.PENDING, table.last_error.startswith(_REFUSED)),
    ).where(table.claimed_at >= since)
    return RefusalCounts._make((await session.execute(query)).one())


async def suppress_refused(session: AsyncSession, kind: MailKind, since: datetime) -> list[tuple[int, bytes]]:
    """Suppress the addresses of mails that were claimed since then and refused, each for its shop, over all shops.

    Returns:
        Shop and hash of those that were not suppressed before.
    """
    table = TABLES[kind]
    values: dict[Any, Any] = {table.state: MailState.SUPPRESSED}
    if kind is MailKind.INVITATION:  # it ends only if an earlier mail may have gone out
        values[Invitation.expires_at] = case((Invitation.attempts > 0, Invitation.expires_at))
    refused = (
        update(table)
        .where(table.state == MailState.PENDING, table.last_error.startswith(_REFUSED), table.claimed_at >= since)
        .values(values)
        .returning(table.shop_id, table.recipient)
        .cte("refused")
    )
    address_hash = literal_column(hash_sql("refused.shop_id", "refused.recipient"), LargeBinary)
    rows = select(refused.c.shop_id, address_hash, literal(SuppressionReason.BOUNCE.value)).distinct()
    rows = rows.order_by(refused.c.shop_id, address_hash)  # as all who suppress several, or two wait for each other
    key = EmailSuppression.shop_id, EmailSuppression.address_hash
    columns = [*key, EmailSuppression.reason]
    added = insert(EmailSuppression).from_select(columns, rows).on_conflict_do_nothing().returning(*key)
    return [(shop_id, hashed) for shop_id, hashed in await session.execute(added)]


def _sent(kind: MailKind) -> dict[str, Any]:
    """What else changes when a mail is sent: the link of an invitation works for `LIFETIME` from now on."""
    if kind is MailKind.REMINDER:
        return {}
    waits = and_(Invitation.answer.is_(None), Invitation.removed_at.is_(None))
    return {"expires_at": case((waits, Invitation.claimed_at + LIFETIME), else_=Invitation.expires_at)}


async def _update_claimed(
    session: AsyncSession, kind: MailKind, shop_id: int, claimed: ClaimedMail, **values: Any
) -> None:
    table = TABLES[kind]
    query = (
        update(table)
        .where(
            table.shop_id == shop_id,
            table.id == claimed.id,
            table.state == MailState.SENDING,
            table.attempts == claimed.attempt,
        )
        .values(**values)
    )
    await session.execute(query)
