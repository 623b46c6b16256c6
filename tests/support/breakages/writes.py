"""Breakages of the steps of a write."""

from typing import Final

from tests.support.breakages.breakage import Breakage

_WRITE: Final = "tests/services/registries/test_write.py"
_WITHOUT_REDIS: Final = "tests/services/registries/test_write_without_redis.py"
_OUTAGES: Final = "tests/api/test_outages.py"
_DELETION: Final = (
    "tests/services/registries/test_deletion.py::test_deletion_while_redis_is_silent_leaves_no_trace_once_it_answers"
)
_THRESHOLD: Final = (
    "tests/services/shops/test_settings.py::test_load_that_began_before_a_new_threshold_does_not_fill_the_cache"
)
_LATE: Final = "tests/services/privacy/test_late_registries.py"
_CHANGES: Final = "tests/api/test_conditional_changes.py"
_PRIMITIVE: Final = "wishcraft/services/registries/write.py"

BREAKAGES: Final = (
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
        "what a migration has outdated within a transaction is repeated outside of it", "wishcraft/store/statements.py",
        "if not (begins and is_outdated_plan(error)):", "if not is_outdated_plan(error):",
        ("tests/store/test_engine.py::test_write_within_which_a_statement_is_outdated_fails_once_and_stores_nothing",),
    ),
    Breakage(
        "a migration outdates the statement that raises versions", "wishcraft/store/registries.py",
        "CAST(b.version AS bigint)", "b.version",
        ("tests/api/test_migrated_under_traffic.py::test_first_request_after_a_migration_is_answered[creation]",),
    ),
    Breakage(
        "a write invalidates after its commit", _PRIMITIVE,
        "        is_invalidated = await _invalidate(resources, actor.shop_id, versions, on_cache_down)\n"
        "        deleted = await write.end_deleted() if write.deleted else {}\n"
        "        # If Redis is silent, to wait for its leases too could take longer than the transaction may last.\n"
        "        refilled = [slug for slug in versions if slug not in deleted] if is_invalidated else []\n"
        "        await _commit(resources, write, refilled)\n",
        "        deleted = await write.end_deleted() if write.deleted else {}\n"
        "        await _commit(resources, write, [slug for slug in versions if slug not in deleted])\n"
        "        await _invalidate(resources, actor.shop_id, versions, on_cache_down)\n",
        (f"{_WRITE}::test_the_cache_is_invalidated_before_the_commit",),
    ),
    Breakage(
        "a write does not refill the cache", _PRIMITIVE,
        "            write.refilled = await resources.cache.refill(write.actor.shop_id, write.commit, slugs)\n",
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
        "", (f"{_WITHOUT_REDIS}::test_without_redis_a_write_announces_and_waits_before_it_commits",),
    ),
    Breakage(
        "a job writes while Redis does not answer", _PRIMITIVE,
        '        if on_cache_down == "refuse":\n            raise\n', "",
        (f"{_WITHOUT_REDIS}::test_without_redis_a_jobs_write_is_refused_and_nothing_is_written",),
    ),
    Breakage(
        "registries with a pending invalidation are read from Redis", "wishcraft/cache/read_permit.py",
        "if pending is None or (pending and (shop_id, slug) in pending):",
        "if False:",
        ("tests/cache/test_read_permit.py::test_read_uses_the_entry_as_far_as_it_is_trusted",),
    ),
    Breakage(
        "pending invalidations are not replayed", "api/state.py",
        "self._replay = self.start_task(self._replay_invalidations())",
        "pass", (f"{_OUTAGES}::test_process_that_starts_replays_pending_invalidations",),
    ),
    Breakage(
        "a permit never expires", "wishcraft/cache/read_permit.py",
        "self._asked_at, self._pending = asked_at, pending",
        "self._asked_at, self._pending = inf, pending",
        (f"{_OUTAGES}::test_hanging_postgresql_leaves_what_redis_holds_readable",),
    ),
    Breakage(
        "a deletion keeps the grants", _PRIMITIVE,
        "ended = await sessions.end_grants(self.session, shop_id, self.deleted)",
        "ended = {slug: [] for slug in self.deleted}", (_DELETION,),
    ),
    Breakage(
        "a deletion is not announced with its commit", _PRIMITIVE,
        "return await pending_invalidations.record_deletions(self.session, shop_id, self.deleted, ended)",
        'return {slug: Announcement(version, "", ended[slug]) for slug, version in self.deleted.items()}', (_DELETION,),
    ),
    Breakage(
        "a replay leaves the grants of what was deleted", _PRIMITIVE,
        "    await resources.sessions.delete([SessionName(shop_id, each) for grants in deleted.values()"
        " for each in grants])\n",
        "", (_DELETION,),
    ),
    Breakage(
        "what was replayed stays pending", _PRIMITIVE,
        "        await pending_invalidations.delete(session, shop_id, announced)\n", "        pass\n", (_DELETION,),
    ),
    Breakage(
        "entries are replaced without an invalidation", _PRIMITIVE,
        "    held = await resources.cache.headers(shop_id, versions)\n"
        "    await resources.cache.invalidate(shop_id, versions)\n",
        "    held = await resources.cache.headers(shop_id, versions)\n",
        (_THRESHOLD,),
    ),
    Breakage(
        "writes that wait take every connection", _PRIMITIVE,
        "resources.slow_writes if is_slow else nullcontext(),", "nullcontext(),",
        (f"{_WITHOUT_REDIS}::test_slow_writes_leave_connections_to_readers",),
    ),
    Breakage(
        "a write announces by a connection of the pool that it holds one of", _PRIMITIVE,
        "        async with resources.announcements.autocommit() as session:\n"
        "            await pending_invalidations.record(",
        "        async with resources.db.autocommit() as session:\n"
        "            await pending_invalidations.record(",
        (f"{_WITHOUT_REDIS}::test_every_write_can_announce_while_all_connections_are_in_use",),
    ),
    Breakage(
        "a hook that fails fails the committed write", _PRIMITIVE,
        "except Exception:  # noqa: BLE001  it is logged", "except ZeroDivisionError:",
        (f"{_WRITE}::test_a_hook_that_fails_does_not_fail_the_committed_write",),
    ),
    Breakage(
        "a replay ends at the error of one shop", _PRIMITIVE,
        "                failure = error\n                continue\n", "                raise\n",
        (f"{_WITHOUT_REDIS}::test_replay_goes_on_after_the_error_of_one_shop",),
    ),
    Breakage(
        "a replay ends after its first batch", _PRIMITIVE,
        "        if not batch:\n", "        if not batch or last[0]:\n",
        (f"{_WITHOUT_REDIS}::test_replay_goes_on_until_nothing_is_pending",),
    ),
    Breakage(
        "a shop's row takes registries along that Redis keeps", "wishcraft/services/privacy/erase.py",
        "    await _delete_locked(write, [each for each in late if each in write.locked])\n", "",
        (f"{_LATE}::test_registry_created_after_the_others_were_erased_is_served_no_more",),
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
)  # fmt: skip
