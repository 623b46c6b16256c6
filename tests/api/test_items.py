"""Changes and removals of items, and what readers see of them."""

from decimal import Decimal

import httpx
import pytest
from redis.asyncio import Redis

from api.schemas.responses import OwnRegistryAnswer, RegistryAnswer
from deployments.sandbox.shopify.inventory import Variant
from tests.support.aliases import Demo
from tests.support.api import WAYS, Shopper, problem
from tests.support.items import PATH, add, buy, items, rows
from wishcraft.cache import keys
from wishcraft.services.registries.reader import RegistryReader


async def test_items_are_listed_in_order_of_addition_and_summed_in_totals(
    emma: Shopper, guest: Shopper, slug: str, variants: list[Variant]
) -> None:
    added = [(await add(emma, slug, variant, {"quantity": 2})).id for variant in variants[2::-1]]
    shown = RegistryAnswer.model_validate_json((await guest.read(slug)).content)
    assert [item.id for item in shown.items] == added
    assert (shown.progress.wanted, shown.progress.percent) == (6, 0)
    assert Decimal(shown.totals.wanted) == sum(2 * variant.price for variant in variants[:3])


async def test_quantity_is_changed_by_the_name_of_answers_or_of_creation(
    emma: Shopper, slug: str, variants: list[Variant]
) -> None:
    item = await add(emma, slug, variants[0])
    path = f"{PATH}/{slug}/items/{item.id}"
    for body, wanted in (({"wanted": 4}, 4), ({"quantity": 5}, 5)):
        answer = await emma.send("PATCH", path, body, if_match="*")
        assert answer.json()["items"][0]["wanted"] == wanted
    both = await emma.send("PATCH", path, {"wanted": 6, "quantity": 6}, if_match="*")
    assert problem(both) == (422, "invalid-request")


async def test_audit_log_names_the_item_and_the_changed_fields(
    emma: Shopper, slug: str, variants: list[Variant], demo: Demo
) -> None:
    item = await add(emma, slug, variants[0])
    body = {"notes": "Very secret", "quantity": 3, "priority": item.priority}
    changed = await emma.send("PATCH", f"{PATH}/{slug}/items/{item.id}", body, if_match="*")
    again = await emma.send("PATCH", f"{PATH}/{slug}/items/{item.id}", body, if_match=changed.headers["etag"])
    assert (again.status_code, again.headers["etag"], again.json()) == (200, changed.headers["etag"], changed.json())
    await emma.send("DELETE", f"{PATH}/{slug}/items/{item.id}", if_match="*")
    query = "SELECT action, metadata FROM audit_logs WHERE actor LIKE 'customer:%' AND action LIKE 'item.%' ORDER BY id"
    assert demo.execute(query).fetchall() == [
        ("item.added", {"item": item.id, "variant": variants[0].variant_id}),
        ("item.changed", {"item": item.id, "fields": ["notes", "quantity_wanted"]}),
        ("item.removed", {"item": item.id}),
    ]


async def test_item_change_keeps_the_fields_left_out(emma: Shopper, slug: str, variants: list[Variant]) -> None:
    item = await add(emma, slug, variants[0], {"quantity": 2, "notes": "In green"})
    etag = (await emma.read(slug)).headers["etag"]
    for change, shown in (
        ({"quantity": 4}, {"wanted": 4, "remaining": 4}),
        ({"notes": "In blue"}, {"notes": "In blue"}),
        ({"priority": "low"}, {"priority": "low"}),
    ):
        answer = await emma.send("PATCH", f"{PATH}/{slug}/items/{item.id}", change, if_match=etag)
        assert answer.status_code == 200
        after = OwnRegistryAnswer.model_validate_json(answer.content).items[0]
        assert after == item.model_copy(update=shown)
        item, etag = after, answer.headers["etag"]


async def test_answer_to_a_change_is_the_refilled_entry_and_reads_nothing(
    emma: Shopper, slug: str, variants: list[Variant], monkeypatch: pytest.MonkeyPatch
) -> None:
    item = await add(emma, slug, variants[0])
    etag = (await emma.read(slug)).headers["ETag"]

    async def read(*_: object) -> None:
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(RegistryReader, "read", read)
        answer = await emma.send("PATCH", f"{PATH}/{slug}/items/{item.id}", {"notes": "blue"}, if_match=etag)
    read_again = await emma.read(slug)
    assert answer.content == read_again.content
    for header in ("ETag", "X-Cache", "Cache-Control"):
        assert answer.headers[header] == read_again.headers[header]


async def test_items_are_reordered(emma: Shopper, slug: str, variants: list[Variant]) -> None:
    first, second = [await add(emma, slug, variant) for variant in variants[:2]]
    await emma.send("PATCH", f"{PATH}/{slug}/items/{first.id}", {"display_order": 9}, if_match="*")
    assert [item.id for item in await items(emma, slug)] == [second.id, first.id]
    third = await add(emma, slug, variants[2])
    assert [item.id for item in await items(emma, slug)] == [second.id, first.id, third.id]


async def test_item_change_and_removal_require_the_etag(
    emma: Shopper, hugo: Shopper, slug: str, variants: list[Variant], demo: Demo
) -> None:
    item = await add(emma, slug, variants[0])
    etag = (await emma.read(slug)).headers["etag"]
    await emma.send("PATCH", f"{PATH}/{slug}", {"title": "Other"}, if_match="*")
    path, before = f"{PATH}/{slug}/items/{item.id}", rows(demo, slug)
    for method, body in (("PATCH", {"quantity": 3}), ("PATCH", {}), ("DELETE", None)):
        assert problem(await emma.send(method, path, body))[0] == 428
        assert problem(await emma.send(method, path, body, if_match=etag)) == (412, "changed-since")
        assert problem(await hugo.send(method, path, body, if_match="*")) == (403, "not-allowed")
    assert rows(demo, slug) == before


async def test_item_of_another_registry_is_not_reached_through_ones_own(
    emma: Shopper, hugo: Shopper, slug: str, variants: list[Variant], demo: Demo
) -> None:
    item = await add(emma, slug, variants[0])
    own = await hugo.create()
    before = rows(demo, slug), rows(demo, own)
    for method, body in (("PATCH", {"quantity": 3}), ("PATCH", {}), ("DELETE", None)):
        for number in (item.id, 1, 2**63 - 1):
            answer = await hugo.send(method, f"{PATH}/{own}/items/{number}", body, if_match="*")
            assert problem(answer) == (404, "not-found")
    assert (rows(demo, slug), rows(demo, own)) == before


async def test_item_without_purchases_is_deleted(emma: Shopper, slug: str, variants: list[Variant], demo: Demo) -> None:
    gone, left = [await add(emma, slug, variant) for variant in variants[:2]]
    answer = await emma.send("DELETE", f"{PATH}/{slug}/items/{gone.id}", if_match="*")
    assert answer.status_code == 200
    assert [item["id"] for item in answer.json()["items"]] == [left.id]
    assert [row[1] for row in rows(demo, slug)] == [left.id]
    again = await emma.send("DELETE", f"{PATH}/{slug}/items/{gone.id}", if_match="*")
    assert problem(again) == (404, "not-found")


async def test_item_with_purchases_is_hidden(
    emma: Shopper, guest: Shopper, slug: str, variants: list[Variant], demo: Demo
) -> None:
    item = await add(emma, slug, variants[0])
    buy(demo, item.id)
    answer = await emma.send("DELETE", f"{PATH}/{slug}/items/{item.id}", if_match="*")
    assert answer.json()["items"] == (await guest.read(slug)).json()["items"] == []
    kept = demo.execute("SELECT status, quantity_purchased FROM registry_items WHERE id = %s", [item.id]).fetchone()
    assert kept == ("hidden", 1)
    assert demo.execute("SELECT count(*) FROM purchases WHERE item_id = %s", [item.id]).fetchone() == (1,)
    for method, body in (("PATCH", {"quantity": 3}), ("DELETE", None)):
        answer = await emma.send(method, f"{PATH}/{slug}/items/{item.id}", body, if_match="*")
        assert problem(answer) == (404, "not-found")


async def test_hidden_item_added_again_is_shown_with_shopifys_current_data(
    emma: Shopper, slug: str, variants: list[Variant], demo: Demo, redis: Redis
) -> None:
    item = await add(emma, slug, variants[0], {"notes": "In green"})
    buy(demo, item.id, 2)
    await emma.send("DELETE", f"{PATH}/{slug}/items/{item.id}", if_match="*")
    variants[0].price, variants[0].handle = Decimal("1.23"), "renamed"
    demo.execute("UPDATE registry_items SET currency = 'GBP' WHERE id = %s", [item.id])
    await redis.delete(f"{keys.of_shop(1).variant_prefix}{variants[0].variant_id}")
    again = await add(emma, slug, variants[0], {"quantity": 5})
    assert (again.id, again.wanted, again.purchased, again.remaining) == (item.id, 5, 2, 3)
    assert (again.notes, again.price, str(again.image)[-11:]) == ("", "1.23", "renamed.svg")
    assert demo.execute("SELECT currency FROM registry_items WHERE id = %s", [item.id]).fetchone() == ("USD",)


async def test_hidden_item_that_is_no_longer_sold_is_shown_as_discontinued(
    emma: Shopper, slug: str, variants: list[Variant], demo: Demo
) -> None:
    item = await add(emma, slug, variants[0])
    buy(demo, item.id)
    await emma.send("DELETE", f"{PATH}/{slug}/items/{item.id}", if_match="*")
    demo.execute(
        """UPDATE registry_items SET product_active = false, available = false,
               inventory_observed_at = now() + interval '1 minute' WHERE id = %s""",
        [item.id],
    )
    again = await add(emma, slug, variants[0])
    assert (again.id, again.available, again.status) == (item.id, False, "discontinued")


async def test_next_read_shows_a_change_of_items_on_every_path(
    client: httpx.AsyncClient, key: dict[str, str], emma: Shopper, slug: str, variants: list[Variant]
) -> None:
    async def wanted() -> list[list[int]]:
        answers = [await client.get(f"{PATH}/{slug}", headers=key | way) for way in WAYS]
        return [[item["wanted"] for item in answer.json()["items"]] for answer in answers]

    assert await wanted() == [[], []]
    item = await add(emma, slug, variants[0])
    assert await wanted() == [[1], [1]]
    await emma.send("PATCH", f"{PATH}/{slug}/items/{item.id}", {"quantity": 7}, if_match="*")
    assert await wanted() == [[7], [7]]
    await emma.send("DELETE", f"{PATH}/{slug}/items/{item.id}", if_match="*")
    assert await wanted() == [[], []]
