"""The daily limits of invitations when several processes claim at once."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.aliases import Demo
from tests.support.invitations import invite
from tests.support.waiting import wait_until
from wishcraft.domain.invitations import Limits, derive_key, hash_token
from wishcraft.mail.messages.content import Letterhead
from wishcraft.resources import Resources, open_resources
from wishcraft.services.invitations.send import InvitationRun, claim_within_limits
from wishcraft.settings import Settings
from wishcraft.store import invitations, suppressions
from wishcraft.store.shops import ShopRef

TODAY = datetime.now(UTC).date()
WAITS_FOR_A_LOCK = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND strpos(query, 'INSERT INTO locks') > 0
"""


@pytest.fixture
def ids(demo: Demo) -> list[int]:
    """Six invitations that wait, the newest first."""
    demo.execute("DELETE FROM invitations")
    demo.execute("UPDATE registries SET status = 'active', event_date = %s", [TODAY + timedelta(60)])
    invite(demo, *(f"p{number}@example.com" for number in range(6)))
    return [each for (each,) in demo.execute("SELECT id FROM invitations ORDER BY id DESC")]


def run_of(resources: Resources, settings: Settings, shop: ShopRef, limits: Limits) -> InvitationRun:
    letterhead = Letterhead("Maple & Pine", "#2f6f5e")
    return InvitationRun(resources, settings, shop, letterhead, TODAY, limits, derive_key("key"))


async def test_second_claim_waits_for_the_first_and_counts_it(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, ids: list[int]
) -> None:
    async with open_resources(settings, redis_timeout=5) as other:
        run = run_of(other, settings, shop, Limits(shop=3, customer=9, address=9))
        async with resources.db.transaction() as session:
            await suppressions.serialise_claims(session, shop.id)
            hashes = {each: hash_token(str(each)) for each in ids[:2]}
            assert len(await invitations.claim_batch(session, shop.id, hashes)) == 2
            second = asyncio.create_task(claim_within_limits(run, ids[2:]))
            await wait_until(lambda: second.done() or demo.execute(WAITS_FOR_A_LOCK).fetchone() == (1,), pause=0)
        assert [claimed.id for claimed, _ in await second] == [ids[2]]
    assert demo.execute("SELECT count(*) FROM invitations WHERE state = 'sending'").fetchone() == (3,)


async def test_claims_at_once_never_exceed_a_limit(
    settings: Settings, demo: Demo, shop: ShopRef, ids: list[int]
) -> None:
    async with open_resources(settings, redis_timeout=5) as one, open_resources(settings, redis_timeout=5) as other:
        limits = Limits(shop=9, customer=4, address=9)
        runs = [run_of(each, settings, shop, limits) for each in (one, other)]
        await asyncio.gather(*(claim_within_limits(runs[number % 2], [each]) for number, each in enumerate(ids)))
    assert demo.execute("SELECT count(*) FROM invitations WHERE state = 'sending'").fetchone() == (4,)


async def test_an_invitation_of_another_shop_cannot_be_claimed(
    resources: Resources, settings: Settings, shop: ShopRef, ids: list[int]
) -> None:
    run = run_of(resources, settings, shop._replace(id=2), Limits(9, 9, 9))
    assert await claim_within_limits(run, ids) == []
