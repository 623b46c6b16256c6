"""Seeded breakages: small faults in the product, each of which removes one guard and must make named tests fail.

    python -m tests.support.breakages [--only NAME] [--list]

They show that a change of the tests has lost no check. Each is applied alone, to a temporary copy of the tree.
Exit status 1: a breakage was not caught, its `find` text is out of date, or the tests fail without any breakage.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import cache_from_source
from pathlib import Path
from typing import Final, NamedTuple

from deployments.sandbox.postgres import postgres
from deployments.sandbox.valkey import valkey

ROOT: Final = Path(__file__).parents[2]
TIMEOUT_SECONDS: Final = 600
"""For one run of pytest. A single test times out earlier, see `pyproject.toml`."""
_TESTS_FAILED: Final = 1
"""pytest's exit status if tests failed; a wrong node id or a broken import gives another one."""
_FAILED_TEST: Final = re.compile(r"^FAILED (.+?)(?: - |$)", re.MULTILINE)
_PRINT_ORIGINS: Final = (
    "import importlib, sys; print(*(importlib.import_module(name).__file__ for name in sys.argv[1:]), sep='\\n')"
)


class Breakage(NamedTuple):
    """A fault to seed: `find`, which occurs once in `file`, becomes `replace`; one of `tests` has to fail."""

    name: str
    """The fault, in a few words."""
    file: str
    find: str
    replace: str
    tests: tuple[str, ...]
    """Node ids or files."""


class Run(NamedTuple):
    """One run of pytest."""

    status: int | None
    """None if it timed out."""
    output: str
    seconds: float

    @property
    def failed_test(self) -> str | None:
        """The first test that failed; errors in fixtures or imports do not count."""
        found = _FAILED_TEST.search(self.output) if self.status == _TESTS_FAILED else None
        return found[1] if found else None


_COHERENCE: Final = "tests/cache/test_coherence.py"
_VARIANTS: Final = "tests/cache/test_variants.py"
_WRITE: Final = "tests/services/registries/test_write.py"
_OUTAGES: Final = "tests/api/test_outages.py"
_CHANGES: Final = "tests/api/test_conditional_changes.py"
_KEYS: Final = "tests/api/test_keys.py"
_SIGNATURES: Final = "tests/shopify/test_signatures.py"
_SYNC: Final = "tests/services/inventory/test_sync.py"
_STOCK: Final = "tests/services/inventory"
_SEND: Final = "tests/services/reminders/test_send.py"
_INVITE: Final = "tests/services/invitations/test_send.py"
_LATER_WEBHOOKS: Final = "tests/services/purchases/test_later_webhooks.py"
_EXPIRED: Final = "tests/services/cleanup/test_expired.py"
_PRIMITIVE: Final = "wishcraft/services/registries/write.py"

BREAKAGES: Final = (
    # Cache protocol
    Breakage(
        "no version floor in FILL", "wishcraft/cache/scripts.py",
        "if version < tonumber(redis.call('HGET', floors, slug) or 0) then",
        "if false then", (f"{_COHERENCE}::test_load_between_invalidation_and_commit_is_not_filled",),
    ),
    Breakage(
        "no lease check in FILL", "wishcraft/cache/scripts.py",
        "if redis.call('GET', lease) ~= token then",
        "if false then", (f"{_COHERENCE}::test_expired_lease_cannot_fill_the_cache",),
    ),
    Breakage(
        "FILL replaces a newer entry", "wishcraft/cache/scripts.py",
        " and struct.unpack('>I8', present, 10) > version then",
        " and false then", (f"{_COHERENCE}::test_fill_does_not_replace_a_newer_version_and_renews_an_equal_one",),
    ),
    Breakage(
        "an entry of another era is valid", "wishcraft/cache/coherence.py",
        "return entry if entry and entry.header.era == self._server.era else None",
        "return entry", (f"{_COHERENCE}::test_entry_of_another_era_is_a_miss_and_is_replaced",),
    ),
    # The cache of variants
    Breakage(
        "an older reading replaces newer facts", "wishcraft/cache/variant_scripts.py",
        "has_newer = present_read_at >= read_at",
        "has_newer = false", (f"{_VARIANTS}::test_newest_reading_and_image_stay_in_whatever_order_they_arrive",),
    ),
    Breakage(
        "facts read before a restart are stored", "wishcraft/cache/variant_scripts.py",
        "if redis.call('HGET', era, 'era') ~= string.sub(begin, 2) then",
        "if false then", (f"{_VARIANTS}::test_facts_of_another_era_are_missing_and_late_ones_are_refused",),
    ),
    Breakage(
        "a look-up shows drafts", "wishcraft/domain/variants.py",
        "return self.reading if self.reading and self.reading.product_active else None",
        "return self.reading", ("tests/api/test_products.py::test_drafts_and_deleted_and_others_variants_are_unknown",),
    ),
    Breakage(
        "an added item counts as read now", "wishcraft/services/registries/items.py",
        "facts.image.url if facts.image else None, facts.observed_at)",
        "facts.image.url if facts.image else None, facts.observed_at.now(facts.observed_at.tzinfo))",
        ("tests/api/test_products.py::test_added_item_has_the_time_of_its_reading_for_the_sync",),
    ),
    # The steps of a write
    Breakage(
        "a write locks no rows", _PRIMITIVE,
        "registries.lock_each(actor.shop_id, registry_ids)",
        "registries.bump_versions(actor.shop_id, [], WRITE_LIMIT_SECONDS)",
        (f"{_WRITE}::test_rows_are_locked_before_the_block_and_in_the_order_of_their_ids",),
    ),
    Breakage(
        "a write does not raise the version", "wishcraft/store/registries.py",
        "UPDATE registries SET version = version + 1,",
        "UPDATE registries SET version = version,", (f"{_CHANGES}::test_change_with_an_old_etag_is_refused",),
    ),
    Breakage(
        "a write invalidates after its commit", _PRIMITIVE,
        "        await _invalidate(resources, actor.shop_id, versions, on_cache_down)\n",
        "    await _invalidate(resources, actor.shop_id, versions, on_cache_down)\n",
        (f"{_WRITE}::test_the_cache_is_invalidated_before_the_commit",),
    ),
    Breakage(
        "a write does not refill the cache", _PRIMITIVE,
        "            write.entries = await refill(resources, write.actor.shop_id, slugs, write.commit)\n",
        "            pass\n", (f"{_WRITE}::test_the_entry_is_refilled_after_the_commit",),
    ),
    Breakage(
        "a deletion leaves its floor and its place in the index", _PRIMITIVE,
        "            await _replay(resources, shop_id, deleted)\n",
        "            pass\n", ("tests/api/test_deletion.py::test_deletion_leaves_nothing_that_names_the_registry",),
    ),
    Breakage(
        "a deletion keeps the buyers' names", "wishcraft/store/registries.py",
        "    await session.execute(update(Purchase).where(*bought).values(nameless))\n",
        "", ("tests/api/test_deletion.py::test_purchases_stay_without_names_and_their_sums_remain",),
    ),
    Breakage(
        "a write is not published", _PRIMITIVE,
        "await resources.after_write(shop_id, versions)",
        "pass", (f"{_WRITE}::test_a_committed_write_is_published_once_after_its_refill",),
    ),
    Breakage(
        "a write has no time limit", "wishcraft/store/registries.py",
        "set_config('transaction_timeout', :limit, true)",
        ":limit", (f"{_WRITE}::test_the_write_limit_ends_a_transaction_that_invalidated_and_does_not_commit",),
    ),
    Breakage(
        "no pending invalidation while Redis does not answer", _PRIMITIVE,
        "            await pending_invalidations.record(session, shop_id, versions)\n",
        "            pass\n", (f"{_OUTAGES}::test_invalidation_missed_in_a_short_outage_is_replayed",),
    ),
    Breakage(
        "a write does not wait for permits to expire", _PRIMITIVE,
        "        await asyncio.sleep(PERMIT_SECONDS + _MARGIN_SECONDS)\n",
        "", (f"{_WRITE}::test_without_redis_a_write_announces_and_waits_before_it_commits",),
    ),
    Breakage(
        "a job writes while Redis does not answer", _PRIMITIVE,
        '        if on_cache_down == "refuse":\n            raise\n', "",
        (f"{_WRITE}::test_without_redis_a_jobs_write_is_refused_and_nothing_is_written",),
    ),
    Breakage(
        "registries with a pending invalidation are read from Redis", "wishcraft/cache/read_permit.py",
        "if self._pending is None or (shop_id, slug) in self._pending:",
        "if False:",
        ("tests/cache/test_read_permit.py::test_read_uses_the_entry_as_far_as_it_is_trusted",),
    ),
    Breakage(
        "pending invalidations are not replayed", "api/state.py",
        "self._replay = self._start(self._replay_invalidations())",
        "pass", (f"{_OUTAGES}::test_process_that_starts_replays_pending_invalidations",),
    ),
    Breakage(
        "a permit never expires", "wishcraft/cache/read_permit.py",
        "self._asked_at, self._pending = asked_at, pending",
        "self._asked_at, self._pending = inf, pending",
        (f"{_OUTAGES}::test_hanging_postgresql_leaves_what_redis_holds_readable",),
    ),
    # Writes by registrants
    Breakage(
        "no If-Match check", _PRIMITIVE,
        "if change.if_match is not None and not allows_change(change.if_match, registry.version):",
        "if False:", (f"{_CHANGES}::test_change_with_an_old_etag_is_refused",),
    ),
    Breakage(
        "no owner check", _PRIMITIVE,
        "if registry is None or not change.caller.owns(registry.owner):",
        "if registry is None:", (f"{_CHANGES}::test_only_the_registrant_changes_a_registry",),
    ),
    Breakage(
        "no row lock during a change", "wishcraft/store/registries.py",
        """Registry.slug == bindparam("slug")).with_for_update(
        of=Registry
    )""",
        """Registry.slug == bindparam("slug"))""",
        (f"{_CHANGES}::test_one_of_two_concurrent_changes_with_one_etag_succeeds",),
    ),
    Breakage(
        "an idempotency key can be acquired again", "wishcraft/store/idempotency.py",
        "    WHERE idempotency_keys.expires_at < now()\n",
        "", ("tests/api/test_registry_changes.py::test_repeated_creation_with_one_key_creates_one_registry",),
    ),
    # Access
    Breakage(
        "a list shows registries of other shops", "wishcraft/store/registry_lists.py",
        'conditions: list[ColumnElement[bool]] = [Registry.shop_id == bindparam("shop_id")]',
        "conditions: list[ColumnElement[bool]] = []",
        ("tests/api/test_lists.py::test_search_finds_only_public_active_registries_of_the_shop",),
    ),
    Breakage(
        "a new access code leaves the old grants", "wishcraft/services/registries/lifecycle.py",
        "            ended = (await sessions.end_grants(write.session, shop_id, [registry.slug]))[registry.slug]\n",
        "            ended = []\n",
        ("tests/api/test_guests.py::test_new_access_code_ends_the_grants_of_the_old_one",),
    ),
    Breakage(
        "an app-proxy signature never expires", "wishcraft/shopify/signatures.py",
        "if not -_CLOCK_SKEW <= age <= max_age or ",
        "if ", (f"{_SIGNATURES}::test_timestamp_that_is_too_old_or_in_the_future_is_refused",),
    ),
    Breakage(
        "an ambiguous app-proxy query is accepted", "wishcraft/shopify/signatures.py",
        " or _is_ambiguous(message, (customer, shop, timestamp), now):",
        ":", (f"{_SIGNATURES}::test_message_recut_into_another_identity_is_refused_either_way",),
    ),
    Breakage(
        "an ID token for another app is accepted", "wishcraft/shopify/id_tokens.py",
        'options={"require": ["exp", "nbf", "aud", "dest", "sub"]},',
        'options={"require": ["exp", "nbf", "aud", "dest", "sub"], "verify_aud": False},',
        (f"{_KEYS}::test_only_a_current_id_token_for_this_app_opens_the_admin",),
    ),
    Breakage(
        "an API key needs no scope", "api/auth/dependencies.py",
        "        if scope not in caller.scopes:\n",
        "        if False:\n", (f"{_KEYS}::test_key_is_limited_to_its_scopes",),
    ),
    Breakage(
        "a rate limit ignores the other processes", "wishcraft/cache/rate_limiter.py",
        "            window = self._begin(policy, caller, now)\n        left = policy.quota - window.shared -",
        "            window = self._begin(policy, caller, now)\n        left = policy.quota -",
        ("tests/cache/test_rate_limiter.py::test_processes_that_exchange_counts_share_the_quota",),
    ),
    # Jobs
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
        "true", (f"{_STOCK}/test_webhooks.py::test_sync_that_began_before_a_webhook_keeps_what_it_told",),
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
        (f"{_STOCK}/test_webhooks.py::test_webhook_older_than_the_last_sync_changes_nothing",),
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
        (f"{_SEND}::test_an_event_moved_before_its_reminder_gets_none_for_the_old_date",),
    ),
    Breakage(
        "a removed person is reminded", "wishcraft/store/reminders.py",
        "AND n.answer = 'confirmed' AND n.removed_at IS NULL", "AND n.answer = 'confirmed'",
        (f"{_INVITE}::test_a_reminder_that_was_postponed_is_not_sent_after_a_removal",),
    ),
    Breakage(
        "an unconfirmed address is reminded", "wishcraft/store/reminders.py",
        "                Invitation.answer == Answer.CONFIRMED,\n", "",
        (f"{_INVITE}::test_reminders_go_to_confirmed_addresses_that_are_still_named",),
    ),
    Breakage(
        "two processes exceed a limit together", "wishcraft/services/invitations/send.py",
        "        await invitations.serialise_claims(session, run.shop.id)\n", "",
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
    # Orders
    Breakage(
        "a wish that is added after an order takes its lines", "wishcraft/services/purchases/attribution.py",
        "and not item.is_hidden and item.created_at < moment + CLOCKS else", "and not item.is_hidden else",
        (_LATER_WEBHOOKS,),
    ),
    Breakage(
        "a webhook undoes a dismissal", "wishcraft/services/purchases/attribution.py",
        "if line.registry_id is not None or line.is_dismissed}", "if line.registry_id is not None}",
        (_LATER_WEBHOOKS,),
    ),
    Breakage(
        "ordinary shopping is judged again", "wishcraft/services/purchases/attribution.py",
        "return waiting.claim != text if waiting else not is_judged", "return True", (_LATER_WEBHOOKS,),
    ),
    Breakage(
        "a deleted order counts", "wishcraft/services/purchases/order_updates.py",
        "    if message.topic == DELETED:", "    if message.topic == DELETED and not message.payload:",
        ("tests/services/purchases/test_lost_orders.py",),
    ),
    Breakage(
        "an order that PostgreSQL refuses ends the reconciliation", "wishcraft/services/purchases/reconcile.py",
        "if len(updates) > 1:", "if False:", ("tests/services/purchases/test_lost_orders.py",),
    ),
    Breakage(
        "webhooks of one event are one", "api/routes/webhooks.py",
        "signature=digest[:SIGNATURE_BYTES]", 'signature=b""', ("tests/api/test_webhooks.py",),
    ),
    # Values
    Breakage(
        "log messages are not redacted", "wishcraft/observability/logs.py",
        "record.msg, record.args = _encodable(redact_text(text, secrets)), None",
        "record.msg, record.args = _encodable(text), None",
        ("tests/observability/test_logs.py::test_registered_secrets_are_redacted",),
    ),
    Breakage(
        "money is rounded half to even", "wishcraft/domain/currencies.py",
        "Decimal(1).scaleb(-decimals(currency)), ROUND_HALF_UP)",
        "Decimal(1).scaleb(-decimals(currency)))",
        ("tests/store/test_registry_payloads.py::test_the_sql_payload_equals_the_domains_byte_for_byte",),
    ),
    Breakage(
        "a variant of a draft product is available", "wishcraft/domain/inventory.py",
        "return reading.product_active and (",
        "return (", ("tests/domain/test_inventory.py",),
    ),
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.breakages", description=__doc__)
    parser.add_argument("--only", action="append", metavar="NAME", help="run those with NAME in the name; repeatable")
    parser.add_argument("--list", action="store_true", help="list the breakages, and run nothing")
    options = parser.parse_args(arguments)
    wanted = [each for each in BREAKAGES if not options.only or any(name in each.name for name in options.only)]
    if not wanted:
        parser.error("no breakage has such a name: see --list")
    if options.list:
        for each in wanted:
            _print(f"{each.name}: {each.file}, {', '.join(each.tests)}")
        return 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wishcraft-breakages-")))
        copy = folder / "tree"
        copy_tree(copy)
        environment = make_environment(copy)
        check_origins(copy, environment)
        if "TEST_DATABASE_URL" not in environment:
            environment["TEST_DATABASE_URL"] = stack.enter_context(postgres(folder, durable=False))
        if "TEST_REDIS_URL" not in environment:
            environment["TEST_REDIS_URL"] = stack.enter_context(valkey(folder, durable=False))
        return run_all(wanted, copy, environment)


def copy_tree(copy: Path) -> None:
    """Copy the files that git tracks, and those that it neither tracks nor ignores; no symbolic links."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603  as above
    for name in filter(None, done.stdout.split("\0")):
        source, target = ROOT / name, copy / name
        if source.is_file() and not source.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def make_environment(copy: Path) -> dict[str, str]:
    """This process's environment with the copy as PYTHONPATH, which subprocesses of the tests inherit."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return kept | {"PYTHONPATH": str(copy)}


def check_origins(copy: Path, environment: Mapping[str, str]) -> None:
    """Exit if a Python process would import one of the product's packages from elsewhere than the copy."""
    packages = sorted(path.parent.name for path in copy.glob("*/__init__.py"))
    command = [sys.executable, "-c", _PRINT_ORIGINS, *packages]
    found = subprocess.run(  # noqa: S603  the text above
        command, cwd=copy.parent, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    foreign = [origin for origin in found.stdout.split() if not Path(origin).is_relative_to(copy)]
    if foreign or not packages:
        sys.exit(f"These would not be imported from the copy in {copy}: {', '.join(foreign) or 'no package found'}")


def run_all(wanted: Sequence[Breakage], copy: Path, environment: Mapping[str, str]) -> int:
    """Run the tests without a breakage, then with each breakage; returns the exit status."""
    tests = list(dict.fromkeys(test for each in wanted for test in each.tests))
    unbroken = run_tests(tests, copy, environment)
    if unbroken.status != 0:
        _print(f"{unbroken.output}\nThe tests do not pass without a breakage (pytest's status: {unbroken.status}).")
        return 1
    _print(f"unbroken    {unbroken.seconds:5.1f} s  {len(wanted)} breakages, {len(tests)} node ids or files: all pass")
    caught = sum([run_one(each, copy, environment) for each in wanted])
    _print(f"{caught} of {len(wanted)} breakages were caught.")
    return 0 if caught == len(wanted) else 1


def run_one(breakage: Breakage, copy: Path, environment: Mapping[str, str]) -> bool:
    """Seed one breakage, run its tests and print the result; returns whether it was caught."""
    path = copy / breakage.file
    count = path.read_text().count(breakage.find) if path.is_file() else 0
    if count != 1:
        _print(f"out of date         {breakage.name}: `find` occurs {count} times in {breakage.file}")
        return False
    with seeded(breakage, path):
        run = run_tests(breakage.tests, copy, environment, "-x")
    if run.failed_test is None:
        _print(f"NOT CAUGHT  {run.seconds:5.1f} s  {breakage.name} (pytest's status: {run.status})\n{run.output}")
        return False
    _print(f"caught      {run.seconds:5.1f} s  {breakage.name}: {run.failed_test}")
    return True


@contextmanager
def seeded(breakage: Breakage, path: Path) -> Iterator[None]:
    """Seed the breakage within the block, then restore the file."""
    source = path.read_text()
    _write(path, source.replace(breakage.find, breakage.replace))
    try:
        yield
    finally:
        _write(path, source)


def run_tests(tests: Sequence[str], copy: Path, environment: Mapping[str, str], *options: str) -> Run:
    """Run pytest on these node ids or files in the copy."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", *options, *tests]
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:  # processes that tests leave behind would keep a pipe open
        status: int | None = None
        try:
            status = subprocess.run(  # noqa: S603  pytest, on the tests above
                command, cwd=copy, env=environment, stdout=output, stderr=output, timeout=TIMEOUT_SECONDS, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            output.write(f"\npytest did not end within {TIMEOUT_SECONDS} s")
        output.seek(0)
        return Run(status, output.read(), time.monotonic() - started)


def _write(path: Path, source: str) -> None:
    """Write a source file and drop its bytecode: Python compares size and seconds only, both may be equal."""
    path.write_text(source)
    Path(cache_from_source(str(path))).unlink(missing_ok=True)


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201  a command line


if __name__ == "__main__":
    sys.exit(main())
