"""Tables of the outbox (reminders, invitations) and of suppressed e-mail addresses."""

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from wishcraft.domain.invitations import InvitationAnswer
from wishcraft.domain.mail_events import MailOutcome
from wishcraft.domain.mail_suppressions import SuppressionReason
from wishcraft.store.schema.base import Base, Timestamps, choice


class MailState(StrEnum):
    """State of a mail in the outbox; what happened to it after it was sent is its `MailOutcome`."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    SUPPRESSED = "suppressed"


class OutboxMail(Timestamps):
    """The columns of a mail to one recipient; `store.outbox` has the queries that both tables share.

    `updated_at` is when the state of the mail last changed; answers and removals leave it as it is.
    """

    recipient: Mapped[str]
    state: Mapped[MailState] = mapped_column(choice(MailState), server_default=MailState.PENDING)
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    """How often it was claimed, without the tries that are known to have sent no mail."""
    claimed_at: Mapped[datetime | None]
    """When it was last claimed for sending; answers and removals leave it as it is."""
    last_error: Mapped[str | None]
    message_id: Mapped[str | None]
    provider: Mapped[str | None]
    """The mail provider that last said whether it accepts the mail: `smtp`, `ses` or `sendgrid`."""
    outcome: Mapped[MailOutcome | None] = mapped_column(choice(MailOutcome))
    """Outcome after it was sent, as the mail provider reports; NULL before it does."""
    outcome_at: Mapped[datetime | None]
    """When that happened, by the provider's clock."""


def _outcome_indexes(table: str) -> tuple[Index, ...]:
    """Indexes of the two questions about outcomes: soft bounces of an address, and outcomes since a moment."""
    soft = text("outcome = 'soft_bounced'")
    return (
        Index(f"ix_{table}_find_soft_bounces", "shop_id", "recipient", postgresql_where=soft),
        Index(f"ix_{table}_count_outcomes", "outcome_at", postgresql_where=text("outcome IS NOT NULL")),
    )


class Reminder(OutboxMail, Base):
    """One mail to one recipient for one event date; the unique key prevents a second."""

    __tablename__ = "reminders"
    __table_args__ = (
        UniqueConstraint("registry_id", "kind", "event_date", "recipient"),
        ForeignKeyConstraint(["shop_id", "registry_id"], ["registries.shop_id", "registries.id"], ondelete="CASCADE"),
        Index(
            "ix_reminders_find_unfinished",
            "shop_id",
            "event_date",
            postgresql_where=text("state IN ('pending', 'sending')"),
        ),
        *_outcome_indexes("reminders"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    shop_id: Mapped[int]
    registry_id: Mapped[int]
    kind: Mapped[str]
    event_date: Mapped[date]


class Invitation(OutboxMail, Base):
    """An address that a registry names, with its owner's consent to be reminded; one mail asks for it.

    The reminders of a registry go to its confirmed invitations that were not removed, and nowhere else.
    """

    __tablename__ = "invitations"
    __table_args__ = (
        UniqueConstraint("registry_id", "recipient"),
        UniqueConstraint("token_hash"),
        ForeignKeyConstraint(["shop_id", "registry_id"], ["registries.shop_id", "registries.id"], ondelete="CASCADE"),
        Index(
            "ix_invitations_find_waiting",
            "shop_id",
            "id",
            postgresql_where=text("state = 'pending' AND answer IS NULL AND removed_at IS NULL"),
        ),
        Index("ix_invitations_find_sending", "shop_id", postgresql_where=text("state = 'sending'")),
        Index("ix_invitations_count_recent", "shop_id", "claimed_at"),
        Index("ix_invitations_judge_refusals", "claimed_at"),
        Index("ix_invitations_find_expired", "expires_at"),
        *_outcome_indexes("invitations"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    shop_id: Mapped[int]
    registry_id: Mapped[int]
    token_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    """SHA-256 of the link's token; NULL before the mail is sent."""
    answer: Mapped[InvitationAnswer | None] = mapped_column(choice(InvitationAnswer))
    removed_at: Mapped[datetime | None]
    """When the registry stopped to name the address."""
    expires_at: Mapped[datetime | None]
    """When the link ends, or after a removal the row; NULL if neither does."""


class CountedInvitation(Base):
    """An invitation that was sent for a registry deleted since: until it expires, it counts for the day's limits."""

    __tablename__ = "counted_invitations"
    __table_args__ = (
        Index("ix_counted_invitations_of_shop", "shop_id", "expires_at"),
        Index("ix_counted_invitations_find_expired", "expires_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id", ondelete="CASCADE"))
    customer_id: Mapped[int | None]
    mailbox_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    """`domain.addresses.mailbox_hash` of the address."""
    expires_at: Mapped[datetime]


class DeletedMail(Base):
    """A mail for a registry deleted since: an event about it may suppress its address, until it expires."""

    __tablename__ = "deleted_mails"
    __table_args__ = (Index("ix_deleted_mails_find_expired", "expires_at"),)

    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    """`MailKind`."""
    mail_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    address_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    expires_at: Mapped[datetime]


class EmailSuppression(Base):
    """The hash of an address that a shop must not write to."""

    __tablename__ = "email_suppressions"

    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id", ondelete="CASCADE"), primary_key=True)
    address_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    reason: Mapped[SuppressionReason] = mapped_column(choice(SuppressionReason))
    since: Mapped[datetime] = mapped_column(server_default=text("now()"))
