from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deployments.sandbox.shopify.simulator import Simulator
from tests.support.aliases import Demo
from tests.support.api import SHOP, Shopper, app_state_of
from tests.support.erased_person import CUSTOMER, EMAIL, GUEST_ORDER, REDACT, REGISTRANT, handle, ordered, receive
from tests.support.webhooks import line, order
from wishcraft.resources import Resources
from wishcraft.settings import Settings


@pytest.fixture
def settings(settings_with_mail: Settings, tmp_path: Path) -> Settings:
    """Settings that send mail, and keep files in a folder of the test."""
    return settings_with_mail.model_copy(update={"files_url": tmp_path.as_uri()})


@pytest.fixture(autouse=True)
def _generous(generous_limits: None) -> None:
    """The API flushes its counts when the test says so, and not while a person is erased."""


@pytest.fixture(autouse=True)
def empty_inbox(demo: Demo) -> None:
    demo.execute("TRUNCATE webhook_events")


@pytest.fixture
async def item(demo: Demo) -> tuple[str, int]:
    """Attribution and variant of an item of another customer."""
    row = demo.execute(
        """SELECT i.attribution::text, i.variant_id FROM registry_items i JOIN registries r ON r.id = i.registry_id
           WHERE r.shop_id = 1 AND r.status = 'active' ORDER BY i.id LIMIT 1"""
    ).fetchone()
    assert row
    return row


@pytest.fixture
async def planted(
    client: Any, signed: Any, guest: Shopper, hugo: Shopper, demo: Demo, resources: Resources,
    simulator: Simulator, item: tuple[str, int],
) -> str:  # fmt: skip
    """The person as registrant, co-registrant, purchaser and recipient, in all places; the slug of their registry."""
    person = Shopper(client, signed, CUSTOMER)
    values = {"registrant": REGISTRANT, "description": "By Quorblatt", "event_location": "Quorblatt Hall"}
    created = await person.send(
        "POST",
        "/api/registries",
        {"title": "Zyxwina's Wedding", "event_type": "wedding", "event_date": "2027-06-12",
         "visibility": "password", "access_code": "tulip-canoe-amber"} | values,
        idempotency_key="one", user_agent="Quorblatt's browser",
    )  # fmt: skip
    assert created.status_code == 201, created.text
    slug: str = created.json()["slug"]
    variant_id = simulator.shops[SHOP].inventory.variant_ids()[0]
    added = await person.send("POST", f"/api/registries/{slug}/items", {"variant_id": variant_id, "notes": "Zyxwina's"})
    assert added.status_code == 201, added.text
    unlocked = await guest.send("POST", f"/api/registries/{slug}/unlock", {"access_code": "tulip-canoe-amber"})
    read = await guest.read(slug, x_registry_grant=unlocked.json()["grant"])
    assert read.headers["x-cache"] in {"hit", "miss"}
    named = await hugo.create(title="Hugo", co_registrants=[REGISTRANT])
    assert "Zyxwina" in (await guest.read(named)).text
    demo.execute(
        """INSERT INTO reminders (shop_id, registry_id, kind, event_date, recipient, last_error, message_id)
           SELECT shop_id, registry_id, 'week', '2027-06-12', recipient, 'refused', '<' || id || '>'
           FROM invitations WHERE recipient LIKE 'zyxwina%'"""
    )
    attribution, variant = item
    receive(demo, "orders/create", ordered(attribution, variant_id=variant))
    by_guest = {"email": None, "phone": None, "customer": None, "billing_address": None}
    receive(demo, "orders/create", ordered(attribution, variant_id=variant, number=GUEST_ORDER, **by_guest))
    receive(demo, "orders/create", ordered("nothing that is known", number=9102))
    claim = [{"name": "_registry", "value": slug}]
    of_another = {"customer": None, "billing_address": None, "email": "someone@example.com", "phone": None}
    receive(demo, "orders/create", order([line(91030, 1)], number=9103, note_attributes=claim) | of_another)
    await handle(resources, demo)
    assert demo.execute("SELECT count(*) FROM purchases WHERE purchaser_name LIKE 'Zyxwina%'").fetchone() == (2,)
    assert demo.execute("SELECT count(*) FROM unmatched_lines").fetchone() == (2,)
    dead = {"outcome": "dead", "handled_at": datetime.now(UTC), "attempts": 10}
    receive(demo, "orders/updated", ordered(attribution, variant_id=variant, number=9104), **dead)
    receive(demo, "customers/redact", REDACT, **dead)
    receive(demo, "orders/updated", ordered(attribution, variant_id=variant, number=9105))  # waits
    receive(demo, "customers/update", {"id": CUSTOMER, "email": EMAIL})  # waits
    await app_state_of(client).traffic_recorder.flush()
    return slug
