"""Breakages of jobs: the sync of the inventory, mails, cleanups."""

from typing import Final

from tests.support.breakages.breakage import Breakage

_SYNC: Final = "tests/services/inventory/test_sync.py"
_STOCK: Final = "tests/services/inventory"
_SEND: Final = "tests/services/reminders/test_send.py"
_SEND_DAYS: Final = "tests/services/reminders/test_send_days.py"
_INVITE: Final = "tests/services/invitations/test_send.py"
_EXPIRED: Final = "tests/services/cleanup/test_expired.py"

BREAKAGES: Final = (
    Breakage(
        "a sync overwrites a newer reading", "wishcraft/store/item_readings.py",
        "(i.inventory_observed_at IS NULL OR i.inventory_observed_at < o.observed_at)",
        "(i.inventory_observed_at IS NULL OR i.inventory_observed_at IS DISTINCT FROM o.observed_at)",
        (f"{_SYNC}::test_a_newer_reading_is_not_overwritten",),
    ),
    Breakage(
        "a sync writes rows that did not change", "wishcraft/store/item_readings.py",
        "AND (n.product_id, n.inventory_item_id, n.handle,",
        "AND (n.product_id + 1, n.inventory_item_id, n.handle,",
        (f"{_SYNC}::test_a_sync_without_changes_writes_nothing",),
    ),
    Breakage(
        "a sync undoes a newer webhook of a product", "wishcraft/store/item_readings.py",
        "(p.updated_at IS NULL OR o.observed_at >= p.updated_at + interval '1 second')",
        "true",
        (f"{_STOCK}/test_product_webhooks.py::test_sync_that_began_before_a_webhook_keeps_the_webhooks_values",),
    ),
    Breakage(
        "a sync undoes a newer level", "wishcraft/store/item_readings.py",
        "v.stock_observed_at IS NULL OR o.observed_at >= v.stock_observed_at",
        "true", (f"{_STOCK}/test_stock_webhooks.py::test_sync_that_began_before_a_level_changed_keeps_the_new_stock",),
    ),
    Breakage(
        "a webhook undoes a newer sync", "wishcraft/store/item_readings.py",
        "(o.is_whole OR s.variants_read_at IS NULL",
        "(true OR s.variants_read_at IS NULL",
        (f"{_STOCK}/test_product_webhooks.py::test_webhook_older_than_the_last_sync_changes_nothing",),
    ),
    Breakage(
        "levels that a sync found wrong are added up", "wishcraft/services/inventory/sync.py",
        "        await inventory_levels.forget_wrong(write.session, shop_id, observations)\n",
        "", (f"{_STOCK}/test_stock_webhooks.py::test_sync_that_finds_another_sum_has_the_levels_read_again",),
    ),
    Breakage(
        "facts from before a webhook stay in Redis", "wishcraft/services/inventory/webhook_changes.py",
        "            await resources.variants.mark_outdated(shop_id, variants)\n",
        "            pass\n",
        (f"{_STOCK}/test_stock_webhooks.py::test_look_up_finds_the_new_stock_and_no_reading_from_before_is_kept",),
    ),
    Breakage(
        "a released claim can settle a mail", "wishcraft/store/outbox.py",
        "            table.attempts == claimed.attempt,\n",
        "", ("tests/services/reminders/test_send_together.py::test_a_claim_that_was_taken_back_cannot_settle",),
    ),
    Breakage(
        "a suppressed address gets mail", "wishcraft/store/reminders.py",
        "SELECT m.id, r.slug, r.customer_email, EXISTS (",
        "SELECT m.id, r.slug, r.customer_email, false AND EXISTS (",
        (f"{_SEND}::test_no_mail_is_sent_to_a_suppressed_address",),
    ),
    Breakage(
        "a reminder of a moved event is sent", "wishcraft/store/reminders.py",
        "ON r.id = m.registry_id AND r.event_date = m.event_date AND r.status = 'active'",
        "ON r.id = m.registry_id AND r.status = 'active'",
        (f"{_SEND_DAYS}::test_an_event_moved_before_its_reminder_gets_none_for_the_old_date",),
    ),
    Breakage(
        "a removed person is reminded", "wishcraft/store/reminders.py",
        "AND n.answer = 'confirmed' AND n.removed_at IS NULL", "AND n.answer = 'confirmed'",
        (f"{_INVITE}::test_a_reminder_that_was_postponed_is_not_sent_after_a_removal",),
    ),
    Breakage(
        "an unconfirmed address is reminded", "wishcraft/store/reminders.py",
        "                Invitation.answer == InvitationAnswer.CONFIRMED,\n", "",
        (f"{_INVITE}::test_reminders_go_to_confirmed_addresses_that_are_still_named",),
    ),
    Breakage(
        "two processes exceed a limit together", "wishcraft/services/invitations/send.py",
        "        await suppressions.serialise_claims(session, run.shop.id)\n", "",
        ("tests/services/invitations/test_limits.py::test_second_claim_waits_for_the_first_and_counts_it",),
    ),
    Breakage(
        "an expired link confirms, or a second answer counts", "wishcraft/store/invitations.py",
        "            Invitation.expires_at > func.now(),\n", "",
        ("tests/api/test_invitations.py::test_expired_link_says_so_and_changes_nothing",),
    ),
    Breakage(
        "a customer vouches for an address", "wishcraft/services/registries/lifecycle.py",
        "new.co_registrants, vouched=caller.is_server", "new.co_registrants, vouched=True",
        ("tests/api/test_invitations.py::test_registrant_from_the_storefront_confirms_the_own_address",),
    ),
    Breakage(
        "a cleanup of logs deletes compliance rows", "wishcraft/store/retention.py",
        'Kind.AUDIT: _Aging("audit_logs", "created_at", f"NOT ({IS_COMPLIANCE})"),',
        'Kind.AUDIT: _Aging("audit_logs", "created_at"),',
        (f"{_EXPIRED}::test_ordinary_and_compliance_logs_are_deleted_separately",),
    ),
    Breakage(
        "a dry run of a cleanup deletes", "wishcraft/services/cleanup/expired.py",
        "while not bounds.dry_run and datetime.now(UTC) < bounds.until:",
        "while datetime.now(UTC) < bounds.until:", (f"{_EXPIRED}::test_a_dry_run_counts_and_deletes_nothing",),
    ),
)  # fmt: skip
