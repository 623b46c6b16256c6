"""Invitations: who is named in a registry confirms the address before any reminder goes there.

Revision: 0013, after 0012

Co-registrants of today are invited, each by one mail of the job send-invitations. Registrants of today count as
confirmed. Addresses are kept as domain.addresses normalises them. What has not the form of an address gets no row; the
few others that the code refuses get one, and their mail fails.

Changes of registries wait from the foreign key on, sending reminders from the last step on.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_ATOM = r'[^[:space:][:cntrl:]@<>,;:.()"\[\]\\]+'
_ADDRESS = rf"^{_ATOM}(\.{_ATOM})*@{_ATOM}(\.{_ATOM})+$"
_INVITE = r"""
INSERT INTO invitations (shop_id, registry_id, recipient, message_id, answer)
SELECT p.shop_id, p.registry_id, p.recipient, '<' || gen_random_uuid() || '@' || s.domain || '>',
    CASE WHEN bool_or(p.is_registrant) THEN 'confirmed' END
FROM (
    SELECT shop_id, id AS registry_id, lower(btrim(customer_email, E' \t\r\n')) AS recipient, true AS is_registrant
    FROM registries
    UNION ALL
    SELECT shop_id, id, lower(btrim(person ->> 'email', E' \t\r\n')), false
    FROM registries, jsonb_array_elements(co_registrants) AS person
) p JOIN shops s ON s.id = p.shop_id
WHERE p.recipient ~ :address AND length(p.recipient) <= 254
GROUP BY p.shop_id, p.registry_id, p.recipient, s.domain
"""
# Of registries that were deleted since their people were read.
_DELETE_ORPHANS = """
DELETE FROM invitations i WHERE NOT EXISTS (SELECT FROM registries r WHERE (r.shop_id, r.id) = (i.shop_id, i.registry_id))
"""


def upgrade() -> None:
    op.create_table(
        "invitations",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("shop_id", sa.BigInteger(), nullable=False),
        sa.Column("registry_id", sa.BigInteger(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("claimed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "answer",
            sa.Enum(
                "confirmed", "declined", name="answer", native_enum=False, create_constraint=True, length=32
            ),
            nullable=True,
        ),
        sa.Column("removed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "pending",
                "sending",
                "sent",
                "failed",
                "suppressed",
                name="mailstate",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            server_default="pending",
            nullable=False,
        ),
        sa.Column("attempts", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("message_id", sa.Text(), nullable=True),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitations")),
        sa.UniqueConstraint("registry_id", "recipient", name=op.f("uq_invitations_registry_id_recipient")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_invitations_token_hash")),
    )
    op.get_bind().execute(sa.text(_INVITE), {"address": _ADDRESS})
    op.create_index(
        "ix_invitations_find_waiting",
        "invitations",
        ["shop_id", "id"],
        postgresql_where=sa.text("state = 'pending' AND answer IS NULL AND removed_at IS NULL"),
    )
    op.create_index(
        "ix_invitations_find_sending", "invitations", ["shop_id"], postgresql_where=sa.text("state = 'sending'")
    )
    op.create_index("ix_invitations_count_recent", "invitations", ["shop_id", "claimed_at"])
    op.create_index("ix_invitations_judge_refusals", "invitations", ["claimed_at"])
    op.create_index("ix_invitations_find_expired", "invitations", ["expires_at"])
    op.execute("LOCK TABLE registries IN SHARE ROW EXCLUSIVE MODE")
    op.execute(_DELETE_ORPHANS)
    op.create_foreign_key(
        op.f("fk_invitations_shop_id_registry_id"),
        "invitations",
        "registries",
        ["shop_id", "registry_id"],
        ["shop_id", "id"],
        ondelete="CASCADE",
    )
    op.add_column("reminders", sa.Column("claimed_at", postgresql.TIMESTAMP(timezone=True), nullable=True))
    op.execute("ALTER TABLE reminders RENAME CONSTRAINT ck_reminders_reminderstate TO ck_reminders_mailstate")


def downgrade() -> None:
    op.drop_table("invitations")
    op.drop_column("reminders", "claimed_at")
    op.execute("ALTER TABLE reminders RENAME CONSTRAINT ck_reminders_mailstate TO ck_reminders_reminderstate")
