"""Queries about invitations, each scoped to one shop, except the one that finds an invitation by its link's token.

Only `ClaimedInvitation` carries a recipient's address out of this module.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, NamedTuple

from sqlalchemy import (
    LargeBinary,
    Text,
    and_,
    case,
    cast,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.addresses import mailbox_hash, normalise, normalise_all
from wishcraft.domain.invitations import (
    LIFETIME,
    LIMITS_COVER,
    TRIED_FOR,
    TRIES,
    Addressee,
    InvitationAnswer,
    InvitationStatus,
)
from wishcraft.domain.mail_suppressions import SuppressionReason
from wishcraft.domain.registries import EventType
from wishcraft.store.outbox import ClaimedMail
from wishcraft.store.schema import CountedInvitation, EmailSuppression, Invitation, Registry, Shop, ShopSettings
from wishcraft.store.schema.mail import MailState
from wishcraft.store.schema.registries import CoRegistrant
from wishcraft.store.statements import Call, Statement
from wishcraft.store.suppressions import hash_sql, invite_again


@dataclass(frozen=True, slots=True)
class ClaimedInvitation(ClaimedMail):
    """A claimed invitation, and what its mail says of the registry."""

    event_type: EventType
    event_date: date | None
    first_name: str
    last_name: str
    registry_id: int


class LinkedInvitation(NamedTuple):
    """The invitation of a link."""

    id: int
    shop_id: int
    registry_id: int
    shop: str
    """The shop's name."""
    settings: ShopSettings
    event_type: EventType
    status: InvitationStatus
    """`EXPIRED` too if the registry no longer names the address."""
    address_hash: bytes
    suppressed: SuppressionReason | None
    """Why the shop sends the address no mail at all."""


# A person who was invited and is named again needs no second mail; an answer is never taken back. Without a mail that
# may have gone out, an invitation to a suppressed address has no end, but that of a removal.
_INVITE: Final = text("""
INSERT INTO invitations (shop_id, registry_id, recipient, message_id, answer)
SELECT s.id, :registry_id, w.recipient, '<' || gen_random_uuid() || '@' || s.domain || '>',
    CASE WHEN w.recipient = :registrant AND :vouched THEN 'confirmed' END
FROM unnest(CAST(:recipients AS text[])) AS w (recipient) JOIN shops s ON s.id = :shop_id
ON CONFLICT (registry_id, recipient) DO UPDATE SET
    removed_at = NULL,
    answer = coalesce(invitations.answer, excluded.answer),
    expires_at = CASE WHEN coalesce(invitations.answer, excluded.answer) IS NULL
        AND (invitations.state <> 'suppressed' OR invitations.attempts > 0) THEN invitations.expires_at END
WHERE invitations.removed_at IS NOT NULL OR (invitations.answer IS NULL AND excluded.answer IS NOT NULL)
""")
_INVITE_FIRST: Final = Statement(_INVITE)
_WAITING: Final = """
    FROM invitations m
    JOIN registries r ON r.id = m.registry_id AND r.status = 'active'
        AND (r.event_date IS NULL OR r.event_date >= :today)
    JOIN shops s ON s.id = m.shop_id AND s.status = 'active'
    WHERE m.shop_id = :shop_id AND m.state = 'pending' AND m.answer IS NULL AND m.removed_at IS NULL
"""
_FIND_WAITING: Final = text(f"SELECT m.id, r.customer_id, m.recipient {_WAITING} ORDER BY m.id DESC")
_LOCK_WAITING: Final = text(
    f"""
    SELECT m.id, r.customer_id, m.recipient {_WAITING} AND m.id = ANY(CAST(:ids AS bigint[]))
    ORDER BY m.id DESC FOR UPDATE OF m SKIP LOCKED
    """
)
_FIND_RECENT: Final = text("""
    SELECT r.customer_id, m.recipient
    FROM invitations m JOIN registries r ON r.id = m.registry_id
    WHERE m.shop_id = :shop_id AND m.claimed_at > now() - CAST(:period AS interval)
        AND (m.attempts > 0 OR m.state <> 'pending')
""")
_FIND_COUNTED: Final = select(CountedInvitation.customer_id, CountedInvitation.mailbox_hash).where(
    CountedInvitation.expires_at > func.now()
)
_GIVE_UP: Final = text("""
    UPDATE invitations SET state = 'failed', updated_at = now(), last_error = concat_ws('; ', last_error, 'given up')
    WHERE shop_id = :shop_id AND state = 'pending' AND answer IS NULL AND removed_at IS NULL
        AND (attempts >= :tries OR expires_at < now() + CAST(:left AS interval))
    RETURNING id
""")
_CLAIM: Final = text(f"""
    WITH mine AS (
        SELECT m.id, r.event_type, r.event_date, r.customer_first_name, r.customer_last_name, r.customer_email,
            w.token_hash, EXISTS (
                SELECT FROM email_suppressions x WHERE x.shop_id = m.shop_id
                AND x.address_hash = {hash_sql("m.shop_id", "m.recipient")}) AS suppressed
        FROM unnest(CAST(:ids AS bigint[]), CAST(:hashes AS bytea[])) AS w (id, token_hash)
        JOIN invitations m ON m.id = w.id JOIN registries r ON r.id = m.registry_id
        WHERE m.shop_id = :shop_id
    )
    UPDATE invitations m SET updated_at = now(),
        expires_at = CASE WHEN NOT mine.suppressed OR m.attempts > 0
            THEN coalesce(m.expires_at, now() + CAST(:lifetime AS interval)) END,
        state = CASE WHEN mine.suppressed THEN 'suppressed' ELSE 'sending' END,
        claimed_at = CASE WHEN mine.suppressed THEN m.claimed_at ELSE now() END,
        token_hash = CASE WHEN mine.suppressed THEN m.token_hash ELSE mine.token_hash END,
        last_error = CASE WHEN mine.suppressed THEN NULL ELSE m.last_error END,
        attempts = m.attempts + CASE WHEN mine.suppressed THEN 0 ELSE 1 END
    FROM mine WHERE m.id = mine.id
    RETURNING m.id, m.attempts AS attempt, m.message_id, m.recipient, mine.suppressed, mine.event_type, mine.event_date,
        mine.customer_first_name AS first_name, mine.customer_last_name AS last_name, mine.customer_email AS registrant,
        m.registry_id
""").columns(event_type=Registry.event_type.type)  # noqa: S608  ours
STATUS: Final = case(
    (Invitation.answer.is_not(None), cast(Invitation.answer, Text)),
    (Invitation.expires_at < func.now(), InvitationStatus.EXPIRED.value),
    else_=InvitationStatus.INVITED.value,
)
"""An `InvitationStatus` as text, while the registry names the address; the state of the mail does not matter."""


def invite_first(
    shop_id: int, registry_id: int, registrant: str, others: Sequence[CoRegistrant], *, vouched: bool
) -> Call:
    """Invite the people whom a new registry names; `vouched` as in `invite`."""
    named = normalise_all([registrant, *(other["email"] for other in others)])
    return _INVITE_FIRST(
        shop_id=shop_id, registry_id=registry_id, registrant=normalise(registrant), recipients=named, vouched=vouched
    )


async def invite(session: AsyncSession, shop_id: int, registry_id: int, *, vouched: bool) -> None:
    """Invite the people whom a registry names now, unless they were invited, and end the invitations of others.

    An invitation that ends, and whose mail cannot have gone out, is deleted. One that was not sent for a suppression
    which was lifted since waits again, if it has not expired. The caller holds the registry's lock.

    `vouched` says that a server vouches for the registrant's address, which counts as confirmed then.
    """
    query = select(Registry.customer_email, Registry.co_registrants).where(
        Registry.shop_id == shop_id, Registry.id == registry_id
    )
    registrant, others = (await session.execute(query)).one()
    named = normalise_all([registrant, *(other["email"] for other in others)])
    of_others = (
        Invitation.shop_id == shop_id,
        Invitation.registry_id == registry_id,
        Invitation.recipient.not_in(named),
        Invitation.removed_at.is_(None),
    )
    waits = (Invitation.state == MailState.PENDING, Invitation.attempts == 0, Invitation.answer.is_(None))
    await session.execute(delete(Invitation).where(*of_others, *waits))
    # Who has declined is never to be invited again: that row stays as long as the registry.
    ends = func.coalesce(Invitation.expires_at, func.now() + LIFETIME)
    expires_at = case((Invitation.answer == InvitationAnswer.DECLINED, None), else_=ends)
    removed = {"removed_at": func.now(), "expires_at": expires_at, "updated_at": Invitation.updated_at}
    await session.execute(update(Invitation).where(*of_others).values(removed))
    parameters = {
        "shop_id": shop_id,
        "registry_id": registry_id,
        "registrant": normalise(registrant),
        "recipients": named,
        "vouched": vouched,
    }
    await session.execute(_INVITE, parameters)
    await invite_again(session, shop_id, registry_id)


async def find_waiting(session: AsyncSession, shop_id: int, today: date) -> list[tuple[int, Addressee]]:
    """Ids and addressees of the invitations that wait to be sent, the newest first.

    So a new one does not wait behind a backlog. Registries whose event is over send none.
    """
    rows = await session.execute(_FIND_WAITING, {"shop_id": shop_id, "today": today})
    return [(invitation_id, _addressee(shop_id, *addressee)) for invitation_id, *addressee in rows]


async def lock_waiting(
    session: AsyncSession, shop_id: int, today: date, ids: Sequence[int]
) -> list[tuple[int, Addressee]]:
    """As `find_waiting`, of these invitations alone; locks their rows, and skips those that are locked."""
    rows = await session.execute(_LOCK_WAITING, {"shop_id": shop_id, "today": today, "ids": list(ids)})
    return [(invitation_id, _addressee(shop_id, *addressee)) for invitation_id, *addressee in rows]


async def find_recent(session: AsyncSession, shop_id: int) -> list[Addressee]:
    """Addressees of the invitations that count for the limits: claimed in the time that these cover, and not put off.

    These were sent, may have been, are being sent, or have failed or been suppressed because the server refused them.
    Those of deleted registries are included.
    """
    rows = await session.execute(_FIND_RECENT, {"shop_id": shop_id, "period": LIMITS_COVER})
    recent = [_addressee(shop_id, *row) for row in rows]
    counted = await session.execute(_FIND_COUNTED.where(CountedInvitation.shop_id == shop_id))
    return recent + [Addressee(customer, bytes(mailbox)) for customer, mailbox in counted]


async def count_deleted(session: AsyncSession, shop_id: int, registry_id: int, customer_id: int | None) -> None:
    """Go on counting what `find_recent` counts of a registry that is deleted next, without the addresses.

    Else a customer could invite a stranger again and again, by a new registry each time. The caller holds the
    registry's lock. Runs that hold an invitation are waited for.
    """
    counts = and_(
        Invitation.claimed_at > func.now() - LIMITS_COVER,
        or_(Invitation.attempts > 0, Invitation.state != MailState.PENDING),
    )
    locked = (
        select(Invitation.recipient, Invitation.claimed_at + LIMITS_COVER, counts)
        .where(Invitation.shop_id == shop_id, Invitation.registry_id == registry_id)
        .order_by(Invitation.id)
        .with_for_update()
    )
    counted = [
        {
            "shop_id": shop_id,
            "customer_id": customer_id,
            "mailbox_hash": mailbox_hash(shop_id, recipient),
            "expires_at": expires_at,
        }
        for recipient, expires_at, is_counted in await session.execute(locked)
        if is_counted
    ]
    if counted:
        await session.execute(insert(CountedInvitation), counted)


async def give_up(session: AsyncSession, shop_id: int) -> int:
    """Set invitations that were tried too often, or for too long, to `failed`; returns their number."""
    parameters = {"shop_id": shop_id, "tries": TRIES, "left": LIFETIME - TRIED_FOR}
    return len((await session.execute(_GIVE_UP, parameters)).all())


async def claim_batch(session: AsyncSession, shop_id: int, hashes: dict[int, bytes]) -> list[ClaimedInvitation]:
    """Set invitations that the caller has locked to `sending`, or to `suppressed` if their address is.

    Args:
        session: The transaction; after its commit the caller sends each one and records the outcome.
        shop_id: Their shop.
        hashes: The hash of each one's token, by id.
    """
    parameters = {"shop_id": shop_id, "ids": list(hashes), "hashes": list(hashes.values()), "lifetime": LIFETIME}
    rows = await session.execute(_CLAIM, parameters)
    return [ClaimedInvitation(**row) for row in rows.mappings()]


async def find_linked(session: AsyncSession, token_hash: bytes) -> LinkedInvitation | None:
    """The invitation whose link has the token of this hash, in any shop."""
    # A removed address learns only that the invitation has ended.
    status = case((Invitation.removed_at.is_(None), STATUS), else_=InvitationStatus.EXPIRED.value)
    hashed = literal_column(hash_sql("invitations.shop_id", "invitations.recipient"), LargeBinary)
    suppressed = (
        select(EmailSuppression.reason)
        .where(EmailSuppression.shop_id == Invitation.shop_id, EmailSuppression.address_hash == hashed)
        .scalar_subquery()
    )
    query = (
        select(Invitation.id, Invitation.shop_id, Invitation.registry_id, Shop.name, Shop.settings,
               Registry.event_type, status, hashed, suppressed)
        .join(Registry, Registry.id == Invitation.registry_id)
        .join(Shop, Shop.id == Invitation.shop_id)
        .where(Invitation.token_hash == token_hash)
    )  # fmt: skip
    row = (await session.execute(query)).one_or_none()
    if row is None:
        return None
    *known, found, address_hash, reason = row
    return LinkedInvitation._make((*known, InvitationStatus(found), bytes(address_hash), reason))


async def answer(session: AsyncSession, shop_id: int, invitation_id: int, given: InvitationAnswer) -> bool:
    """Store the answer, if there is none yet, the link has not ended, and the registry still names the address.

    A concurrent answer or removal is waited for, and then counts.
    """
    query = (
        update(Invitation)
        .where(
            Invitation.shop_id == shop_id,
            Invitation.id == invitation_id,
            Invitation.answer.is_(None),
            Invitation.removed_at.is_(None),
            Invitation.expires_at > func.now(),
        )
        .values(answer=given, expires_at=None, updated_at=Invitation.updated_at)
        .returning(Invitation.id)
    )
    return (await session.execute(query)).one_or_none() is not None


def _addressee(shop_id: int, customer: int | None, recipient: str) -> Addressee:
    return Addressee(customer, mailbox_hash(shop_id, recipient))
