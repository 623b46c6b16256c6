"""A tour of the product, part 2 of 3: the jobs that run on a schedule.

A job is a Prefect flow: a function that Prefect runs, retries and records. Here each is called as a function; in
production its schedule in `prefect.yaml` starts it. Each takes the shops it is to work on. A Shopify simulator and a
mail server replace the real ones, and a Prefect server of the test session records the runs.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import httpx
import pytest

from deployments.sandbox.mailbox.messages import Mailbox
from deployments.sandbox.shopify.inventory import Variant
from flows.cache_warm import cache_warm
from flows.registry_report import registry_report
from flows.send_invitations import send_invitations
from flows.send_reminders import send_reminders
from flows.sync_inventory import sync_inventory
from tests.support.aliases import Demo
from tests.support.api import SHOP, Shopper, public_slug
from tests.support.invitations import link_in
from tests.support.prefect_artifacts import summary_of
from wishcraft.settings import Settings

pytestmark = pytest.mark.usefixtures("prefect_server", "worker_environment", "demo")


@pytest.fixture
def settings(settings_with_mail: Settings) -> Settings:
    return settings_with_mail


async def test_cache_warm_makes_the_first_read_of_a_registry_a_hit(guest: Shopper, demo: Demo) -> None:
    slug = public_slug(demo)  # in PostgreSQL only: nothing has read it
    state = await cache_warm([SHOP], return_state=True)
    assert state.is_completed(), state.message
    assert (await guest.read(slug)).headers["x-cache"] == "hit"


async def test_sync_brings_a_new_price_in_shopify_to_every_reader(guest: Shopper, slug: str, variant: Variant) -> None:
    assert (await guest.read(slug)).json()["items"][0]["price"] == "20.00"
    variant.price = Decimal(25)
    state = await sync_inventory([SHOP], return_state=True)
    assert state.is_completed(), state.message
    read = await guest.read(slug)
    assert (read.json()["items"][0]["price"], read.headers["x-cache"]) == ("25.00", "hit")


async def test_reminder_mail_arrives_a_week_before_the_event_and_only_once(
    emma: Shopper, client: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    today = datetime.now(UTC).date()
    await emma.create(event_date=str(today + timedelta(days=8)), co_registrants=[])
    state = await send_invitations([SHOP], return_state=True)  # the address may be anybody's: it is confirmed first
    assert state.is_completed(), state.message
    [invitation] = [each for each in mailbox.messages if each.recipients == ["emma.reed@example.com"]]
    assert str(invitation.parsed["Subject"]) == "Please confirm your e-mail address"
    assert (await client.post(link_in(invitation))).status_code == 200
    mailbox.messages.clear()
    for day, expected in ((today, 0), (today + timedelta(days=1), 1), (today + timedelta(days=1), 1)):
        state = await send_reminders([SHOP], today=day, return_state=True)
        assert state.is_completed(), state.message
        mails = [each for each in mailbox.messages if each.recipients == ["emma.reed@example.com"]]
        assert len(mails) == expected
    assert str(mails[0].parsed["Subject"]) == "In 8 days: Emma & Hugo's Wedding"  # counted from the day of the mail


@pytest.mark.usefixtures("slug")
async def test_report_shows_what_the_registries_of_a_shop_wish_for(variant: Variant) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)  # in the shop's time zone it may be that day still
    state = await registry_report([SHOP], first_day=yesterday, return_state=True)
    assert state.is_completed(), state.message
    assert "1 registry" in str(state.message)
    page = await summary_of(state)  # the run shows it in Prefect
    assert variant.product_title in page
    assert "](data:image/png;base64," in page  # a plot
