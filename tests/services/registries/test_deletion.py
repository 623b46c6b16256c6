"""A deletion beside readers, writers and jobs, and while Redis is silent."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
import pytest
from redis.asyncio import Redis

from deployments.sandbox.demo_rows import ACCESS_CODE
from tests.support.aliases import Demo
from tests.support.invitations import confirm_everyone, invite
from tests.support.residual_data import traces_in_redis
from tests.support.valkey import OwnValkey
from tests.support.waiting import PATIENCE_SECONDS, WAITING, wait_until
from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.analytics.filters import ReportFilter
from wishcraft.cache.coherence import Lease, now_ms
from wishcraft.cache.entries import make_entry
from wishcraft.cache.registries import CacheState
from wishcraft.cache.scripts import FillOutcome
from wishcraft.domain.analytics_events import AnalyticsType
from wishcraft.domain.callers import Caller
from wishcraft.domain.periods import last_weeks
from wishcraft.reports.conversion_report import ConversionReport
from wishcraft.reports.demand_report import DemandReport
from wishcraft.reports.registry_report import RegistryReport
from wishcraft.resources import Resources, open_resources
from wishcraft.services.invitations.send import invite_shop
from wishcraft.services.operations.traffic_recorder import TrafficRecorder
from wishcraft.services.registries import write as write_module
from wishcraft.services.registries.access import is_granted, unlock
from wishcraft.services.registries.lifecycle import delete_registry
from wishcraft.services.registries.reader import RegistryReader, load_registries
from wishcraft.services.registries.write import ChangeRequest, replay_invalidations
from wishcraft.services.reminders.send import remind_shop
from wishcraft.settings import Settings
from wishcraft.store import pending_invalidations
from wishcraft.store.analytics_events import Event
from wishcraft.store.shops import ShopRef

NOW: Final = datetime(2026, 3, 14, 15, tzinfo=UTC)


@pytest.fixture
def settings(settings_with_mail: Settings) -> Settings:
    """Settings that send mail."""
    return settings_with_mail


@pytest.fixture
def change(demo: Demo, shop: ShopRef) -> ChangeRequest:
    """The request of the owner of a registry that guests may read to delete it."""
    [(slug, owner)] = demo.execute(
        """SELECT slug, customer_id FROM registries WHERE shop_id = %s AND status = 'active' AND visibility = 'public'
           ORDER BY id LIMIT 1""",
        [shop.id],
    ).fetchall()
    return ChangeRequest(Caller(shop.id, "customer:1", owner), slug, "registry.deleted")


def protect(demo: Demo, slug: str) -> None:
    """Give the registry the sandbox's access code."""
    demo.execute(
        """UPDATE registries SET visibility = 'password', access_code_hash = (
               SELECT access_code_hash FROM registries WHERE access_code_hash IS NOT NULL LIMIT 1) WHERE slug = %s""",
        [slug],
    )


def pending(demo: Demo) -> list[tuple[Any, ...]]:
    return demo.execute("SELECT slug, grants FROM pending_invalidations ORDER BY slug").fetchall()


async def test_answers_to_the_invitations_keep_neither_ip_address_nor_browser(
    resources: Resources, demo: Demo, change: ChangeRequest
) -> None:
    of_registry = (("invitation.confirmed", 0), ("invitation.declined", 0), ("item.added", 0))
    for action, number in (*of_registry, ("invitation.confirmed", 1)):
        demo.execute(
            """INSERT INTO audit_logs (shop_id, actor, action, resource, resource_id, ip, user_agent)
               SELECT shop_id, 'link', %s, 'registry', (id + %s)::text, '192.0.2.7', 'a browser'
               FROM registries WHERE slug = %s""",
            [action, number, change.slug],
        )
    await delete_registry(resources, change)
    found = "SELECT action, ip IS NOT NULL, user_agent FROM audit_logs WHERE actor = 'link' ORDER BY id"
    assert demo.execute(found).fetchall() == [
        ("invitation.confirmed", False, None),
        ("invitation.declined", False, None),
        ("item.added", True, "a browser"),
        ("invitation.confirmed", True, "a browser"),  # of another registry
    ]


async def test_deletion_while_redis_is_silent_leaves_no_trace_once_it_answers(
    settings: Settings, own_valkey: OwnValkey, demo: Demo, change: ChangeRequest
) -> None:
    protect(demo, change.slug)
    on_own = settings.model_copy(update={"redis_url": own_valkey.url})
    shop_id, slug = change.caller.shop_id, change.slug
    async with open_resources(on_own, redis_timeout=PATIENCE_SECONDS) as patient, open_resources(on_own) as hasty:
        patient.cache._hold_seconds = 0
        grant = await unlock(patient, Caller(shop_id, "guest:1"), ["1"], slug, ACCESS_CODE)
        assert (await RegistryReader(patient).read(shop_id, slug)).state is CacheState.MISS
        own_valkey.pause()
        await delete_registry(hasty, change)
        own_valkey.resume()
        redis = patient.redis.redis
        left = {key.split(":")[2] for key in await traces_in_redis(redis, slug)}
        assert left >= {"index", "sizes", "session"}  # what was sent to the silent Redis may have deleted the entry
        [(name, grants)] = pending(demo)
        assert (name, bool(grants)) == (slug, True)
        await replay_invalidations(patient)
        assert await traces_in_redis(redis, slug) == []
        assert not await is_granted(patient, shop_id, slug, grant.token)
    assert pending(demo) == []


@pytest.mark.parametrize("moment", ["before the deletion", "between invalidation and commit"])
async def test_reader_with_a_lease_from_before_the_commit_cannot_fill(
    resources: Resources, redis: Redis, change: ChangeRequest, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    shop_id, slug, invalidate = change.caller.shop_id, change.slug, write_module._invalidate
    loaded = {}

    async def load() -> None:
        lease = (await resources.cache.lease(shop_id, [slug]))[slug]
        assert isinstance(lease, Lease)
        registry = (await load_registries(resources, shop_id, [slug]))[slug]
        loaded[slug] = (lease, make_entry(registry, lease.era, now_ms()))

    async def invalidate_and_load(*arguments: Any) -> None:
        await invalidate(*arguments)
        await load()

    if moment == "before the deletion":
        await load()
    else:
        monkeypatch.setattr(write_module, "_invalidate", invalidate_and_load)
    await delete_registry(resources, change)
    assert await resources.cache.fill(shop_id, loaded) == {slug: FillOutcome.LEASE_GONE}
    assert await traces_in_redis(redis, slug) == []


async def test_deletion_whose_writer_dies_after_the_commit_is_replayed(
    resources: Resources, demo: Demo, redis: Redis, change: ChangeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_: object) -> None:
        raise ConnectionError

    await RegistryReader(resources).read(change.caller.shop_id, change.slug)
    with monkeypatch.context() as patch:
        patch.setattr(write_module, "_finish", die)
        with pytest.raises(ConnectionError):
            await delete_registry(resources, change)
    assert len(await traces_in_redis(redis, change.slug)) == 3  # index, sizes and floor
    await replay_invalidations(resources)
    assert await traces_in_redis(redis, change.slug) == []
    assert pending(demo) == []


async def test_deletion_that_fails_to_commit_deletes_nothing(
    resources: Resources, demo: Demo, change: ChangeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_: object) -> None:
        raise ConnectionError

    count = "SELECT (SELECT count(*) FROM registries), (SELECT count(*) FROM registry_items)"
    before = demo.execute(count).fetchall()
    with monkeypatch.context() as patch:
        patch.setattr(write_module.RegistryWrite, "end_deleted", die)
        with pytest.raises(ConnectionError):
            await delete_registry(resources, change)
    assert demo.execute(count).fetchall() == before
    assert pending(demo) == []
    read = await RegistryReader(resources).read(change.caller.shop_id, change.slug)
    assert read.entry.body


async def test_announcement_of_a_later_registry_with_the_slug_is_no_deletion(
    resources: Resources, demo: Demo, redis: Redis, change: ChangeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_module, "_finish", lambda *_: asyncio.sleep(0))
    await delete_registry(resources, change)
    async with resources.announcements.autocommit() as session:
        await pending_invalidations.record(session, change.caller.shop_id, {change.slug: 1})
    assert pending(demo) == [(change.slug, None)]
    await replay_invalidations(resources)
    assert len(await traces_in_redis(redis, change.slug)) == 1  # the floor, until it expires


async def beside_a_deletion(settings: Settings, demo: Demo, slug: str, work: Callable[[], Awaitable[object]]) -> None:
    """Begin the work while a deletion of the registry is under way, which it must wait for."""
    with psycopg.connect(settings.database_url.replace("+psycopg", "")) as deleting:
        deleting.execute("DELETE FROM registries WHERE slug = %s", [slug])
        working = asyncio.ensure_future(work())
        await wait_until(lambda: working.done() or demo.execute(WAITING).fetchone() != (0,))
        assert not working.done()
        deleting.commit()
    await working


async def test_traffic_of_a_registry_deleted_meanwhile_is_dropped_and_no_other(
    resources: Resources, settings: Settings, demo: Demo, change: ChangeRequest
) -> None:
    demo.execute("TRUNCATE registry_views, analytics_events")
    shop_id, recorder = change.caller.shop_id, TrafficRecorder(resources)
    slugs = [slug for (slug,) in demo.execute("SELECT slug FROM registries WHERE shop_id = %s", [shop_id])]
    for slug in slugs:
        recorder.count_read(shop_id, slug, CacheState.HIT, 10)
    await beside_a_deletion(settings, demo, change.slug, recorder.flush)
    counted = "SELECT count(*) FROM {} WHERE shop_id = %s"
    assert demo.execute(counted.format("registry_views").encode(), [shop_id]).fetchone() == (len(slugs) - 1,)
    left = next(slug for slug in slugs if slug != change.slug)
    recorder.add_events(
        [Event(shop_id, slug, AnalyticsType.REGISTRY_VIEWED, datetime.now(UTC), "v", None) for slug in slugs]
    )
    await beside_a_deletion(settings, demo, left, recorder.flush)
    assert demo.execute(counted.format("analytics_events").encode(), [shop_id]).fetchone() == (len(slugs) - 2,)


async def test_reminders_of_a_registry_deleted_meanwhile_are_not_sent_and_others_are(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, change: ChangeRequest
) -> None:
    demo.execute("UPDATE registries SET event_date = %s, status = 'active'", [NOW.date() + timedelta(7)])
    confirm_everyone(demo)
    [(of_others,)] = demo.execute(
        """SELECT count(*) FROM invitations i JOIN registries r ON r.id = i.registry_id
           WHERE r.shop_id = %s AND slug <> %s""",
        [shop.id, change.slug],
    ).fetchall()
    counts: dict[str, int] = {}

    async def remind() -> None:
        counts.update(await remind_shop(resources, settings, shop, now=NOW))

    await beside_a_deletion(settings, demo, change.slug, remind)
    assert (counts["sent"], counts["due"]) == (of_others, of_others)


async def test_mails_claimed_before_a_deletion_are_settled_without_their_rows(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, change: ChangeRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The registry is deleted while its reminder and its invitation are on their way."""
    demo.execute("DELETE FROM invitations")
    demo.execute("UPDATE registries SET event_date = %s WHERE slug = %s", [NOW.date() + timedelta(7), change.slug])
    [(registry_id,)] = demo.execute("SELECT id FROM registries WHERE slug = %s", [change.slug]).fetchall()
    invite(demo, "hugo@example.com", registry=registry_id)
    send = resources.mailer.send

    async def delete_and_send(mail: Any) -> None:
        await delete_registry(resources, change)
        await send(mail)

    monkeypatch.setattr(resources.mailer, "send", delete_and_send)
    counts = await invite_shop(resources, settings, shop, now=NOW)
    assert (counts["sent"], counts["held"]) == (1, 0)
    assert demo.execute("SELECT count(*) FROM invitations").fetchone() == (0,)


async def test_invitations_of_deleted_registries_count_for_the_limits_of_the_day(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, change: ChangeRequest
) -> None:
    limited = settings.model_copy(update={"invitations_per_address": 1})
    later = datetime.now(UTC).date() + timedelta(60)
    demo.execute("DELETE FROM invitations")
    demo.execute("UPDATE registries SET event_date = %s, status = 'active'", [later])
    [(first,), (second,)] = demo.execute(
        "SELECT id FROM registries WHERE shop_id = %s ORDER BY slug = %s DESC, id LIMIT 2", [shop.id, change.slug]
    ).fetchall()
    invite(demo, "h.ugo@gmail.com", "never.sent@example.com", registry=first)
    demo.execute("UPDATE invitations SET state = 'failed' WHERE recipient = 'never.sent@example.com'")
    assert (await invite_shop(resources, limited, shop, now=NOW))["sent"] == 1
    await delete_registry(resources, change)
    assert demo.execute("SELECT count(*), count(customer_id) FROM counted_invitations").fetchone() == (1, 1)
    invite(demo, "hugo+again@googlemail.com", registry=second)
    waits = await invite_shop(resources, limited, shop, now=NOW)
    assert (waits["sent"], waits["waiting"]) == (0, 1)
    demo.execute("UPDATE counted_invitations SET expires_at = now() - interval '1 second'")
    assert (await invite_shop(resources, limited, shop, now=NOW))["sent"] == 1


def figures(analysts: AnalystsDatabase) -> list[list[str]]:
    """The figures of each report by registry, at the test's time."""
    reports: tuple[Any, ...] = (
        RegistryReport(ReportFilter(), NOW),
        ConversionReport(ReportFilter(days=last_weeks(NOW.date(), 4)), NOW),
        DemandReport(ReportFilter(), NOW.date(), 8),
    )
    return [[frame.to_csv() for frame in report.count(analysts)] for report in reports]


async def test_reports_after_a_deletion_are_those_of_the_registries_that_are_left(
    resources: Resources, demo: Demo, change: ChangeRequest, analysts: AnalystsDatabase
) -> None:
    week = timedelta(7)
    demo.execute("UPDATE registries SET created_at = %s, event_date = %s", [NOW - 8 * week, NOW.date() + 4 * week])
    demo.execute("UPDATE purchases SET created_at = %s, status = 'confirmed'", [NOW - 2 * week])
    demo.execute("UPDATE registry_items SET quantity_wanted = quantity_purchased + 3, status = 'active'")
    demo.execute("TRUNCATE analytics_events")
    demo.execute(
        """INSERT INTO analytics_events (shop_id, registry_id, type, occurred_at, visitor_id)
           SELECT shop_id, id, 'registry_viewed', %s, 'v' FROM registries""",
        [NOW - 2 * week],
    )
    before = figures(analysts)
    await delete_registry(resources, change)
    after = figures(analysts)
    assert demo.execute("DELETE FROM purchases WHERE item_id IS NULL").rowcount
    assert after == figures(analysts)
    assert not [unchanged for unchanged, left in zip(before, after, strict=True) if unchanged == left]
