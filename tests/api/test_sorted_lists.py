"""Order, pages, cursors and totals of the lists of registries."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import date
from typing import Any, Final

import httpx
import pytest
from psycopg import AsyncRawCursor

from tests.support.aliases import Demo
from tests.support.api import Shopper, problem
from wishcraft.domain.registries import EventType
from wishcraft.domain.registry_lists import EXACT_TOTAL, ListSort, Position
from wishcraft.resources import Resources
from wishcraft.store.engine import Database
from wishcraft.store.registry_lists import PageRequest, Search, list_public
from wishcraft.store.statements import Call

PATH: Final = "/api/registries"
OWN: Final = "/api/my-registries"
ROWS: Final = (
    ("b", "2027-06-12"), ("Émile", None), ("a", "2027-06-12"), ("Zoë", "2027-01-01"), ("A", None),
    ("emile", "2028-01-01"),    ("Emile & Ada", "2027-06-12"), ("a", "2027-06-12"), ("さくら", "2026-12-31"),
)  # fmt: skip
ORDERS: Final = {
    "newest": [8, 7, 6, 5, 4, 3, 2, 1, 0],
    "event_date": [8, 3, 0, 2, 6, 7, 5, 1, 4],
    "name": [2, 4, 7, 0, 1, 5, 6, 3, 8],
}
"""The numbers of the rows in each order; those that are equal in it are in the order of their ids."""
FILL: Final = """
INSERT INTO registries (shop_id, slug, title, event_type, event_date, visibility, customer_email, customer_first_name,
    customer_last_name)
SELECT 1, 'r-' || n, 'Registry ' || n % 50, CASE WHEN n % 100 = 0 THEN 'holiday' ELSE 'wedding' END,
    CASE WHEN n % 9 > 0 THEN date '2027-01-01' + n % 60 END, 'public', 'a@example.com', 'A', 'B'
FROM generate_series(1, 4000) n
"""


@pytest.fixture(autouse=True)
def empty(demo: Demo) -> None:
    """The shops without their registries."""
    demo.execute("DELETE FROM registries")


@pytest.fixture
def slugs(demo: Demo, emma: Shopper) -> list[str]:
    """The slugs of registries with the titles and dates of `ROWS`, all of one customer."""
    for number, (title, day) in enumerate(ROWS):
        demo.execute(
            """INSERT INTO registries (shop_id, slug, title, event_type, event_date, visibility, customer_id,
                   customer_email, customer_first_name, customer_last_name)
               VALUES (1, %s, %s, 'general', %s, 'public', %s, 'a@example.com', 'Ann', 'Lee')""",
            [f"r-{number}", title, day, emma.customer_id],
        )
    return [f"r-{number}" for number in range(len(ROWS))]


async def page(shopper: Shopper, path: str, query: str) -> dict[str, Any]:
    answer = await shopper.send("GET", f"{path}?{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def walk(shopper: Shopper, path: str, query: str) -> list[str]:
    """The slugs of all pages, one after another."""
    shown: list[str] = []
    cursor = ""
    while True:
        found = await page(shopper, path, f"{query}{cursor}")
        shown += [registry["slug"] for registry in found["registries"]]
        if found["next_cursor"] is None:
            return shown
        cursor = f"&cursor={found['next_cursor']}"


@pytest.mark.parametrize("sort", ORDERS)
@pytest.mark.parametrize("path", [PATH, OWN])
async def test_pages_of_each_order_have_no_gap_and_no_repeat(
    emma: Shopper, slugs: list[str], sort: str, path: str
) -> None:
    expected = [slugs[number] for number in ORDERS[sort]]
    for limit in (1, 2, 4, 9, 10):
        assert await walk(emma, path, f"sort={sort}&limit={limit}") == expected, limit


@pytest.mark.parametrize(("sort", "day", "title"), [("event_date", "2027-06-12", "new"), ("name", None, "a")])
async def test_new_registry_shifts_no_page_of_a_sorted_list(
    emma: Shopper, guest: Shopper, slugs: list[str], sort: str, day: str | None, title: str
) -> None:
    first = await page(guest, PATH, f"sort={sort}&limit=4")
    seen = [registry["slug"] for registry in first["registries"]]
    before = await emma.create(title="0" if sort == "name" else title, event_date="2026-01-01")
    equal = await emma.create(title=title, event_date=day)  # equal to some of the first page and of the rest
    rest = await walk(guest, PATH, f"sort={sort}&limit=4&cursor={first['next_cursor']}")
    assert [slug for slug in seen + rest if slug != equal] == [slugs[number] for number in ORDERS[sort]]
    assert before not in rest


async def test_filters_hold_in_every_order(guest: Shopper, slugs: list[str]) -> None:
    for sort, order in ORDERS.items():
        dated = [number for number in order if ROWS[number][1] == "2027-06-12"]
        query = f"sort={sort}&event_from=2027-06-12&event_to=2027-06-30&limit=2"
        assert await walk(guest, PATH, query) == [slugs[number] for number in dated]
        later = [number for number in order if (ROWS[number][1] or "") >= "2027-06-12"]
        assert await walk(guest, PATH, f"sort={sort}&event_from=2027-06-12") == [slugs[number] for number in later]
        named = [number for number in order if "mile" in ROWS[number][0]]
        assert await walk(guest, PATH, f"sort={sort}&q=EMILE&limit=1") == [slugs[number] for number in named]


async def test_own_list_can_be_filtered_by_status(emma: Shopper, slugs: list[str]) -> None:
    await emma.send("PATCH", f"{PATH}/{slugs[0]}", {"status": "archived"}, if_match="*")
    await emma.send("PATCH", f"{PATH}/{slugs[1]}", {"status": "paused"}, if_match="*")
    assert await walk(emma, OWN, "status=archived") == [slugs[0]]
    assert set(await walk(emma, OWN, "status=active&limit=1")) == set(slugs[2:])
    cursor = (await page(emma, OWN, "status=active&limit=1"))["next_cursor"]
    assert problem(await emma.send("GET", f"{OWN}?status=paused&cursor={cursor}")) == (422, "invalid-request")


async def test_days_in_the_wrong_order_are_refused(guest: Shopper) -> None:
    answer = await guest.send("GET", f"{PATH}?event_from=2027-06-13&event_to=2027-06-12")
    assert problem(answer) == (422, "invalid-request")


async def test_entry_has_first_names_image_and_progress(emma: Shopper, guest: Shopper, demo: Demo) -> None:
    slug = await emma.create()
    for order, image, wanted, purchased, status in (
        (5, "/second.svg", 1, 3, "active"), (3, None, 4, 1, "out_of_stock"), (4, "/first.svg", 2, 2, "discontinued"),
        (1, "/hidden.svg", 9, 9, "hidden"),
    ):  # fmt: skip
        demo.execute(
            """INSERT INTO registry_items (shop_id, registry_id, product_id, variant_id, inventory_item_id, handle,
                   product_title, variant_title, price, currency, tracked, inventory_quantity, inventory_policy,
                   available, display_order, image, quantity_wanted, quantity_purchased, status)
               SELECT 1, id, 1, %s, 1, 'h', 't', '', 1, 'USD', true, 5, 'deny', true, %s, %s, %s, %s, %s
               FROM registries WHERE slug = %s""",
            [order, order, image, wanted, purchased, status, slug],
        )
    await emma.send("PATCH", f"{PATH}/{slug}", {"title": "Refilled"}, if_match="*")
    [entry] = (await page(guest, PATH, ""))["registries"]
    assert (entry["registrants"], entry["image"]) == (["Emma", "Hugo"], "/first.svg")
    assert entry["progress"] == {"wanted": 7, "purchased": 6, "fulfilled": 4, "percent": 57}
    read = (await guest.read(slug)).json()
    assert {name: read[name] for name in entry if name != "image"} == {n: v for n, v in entry.items() if n != "image"}
    [own] = (await page(emma, OWN, ""))["registries"]
    assert {name: own[name] for name in entry} == entry


async def test_total_is_exact_up_to_a_bound(emma: Shopper, guest: Shopper, demo: Demo, slugs: list[str]) -> None:
    async def total(query: str, path: str = PATH) -> tuple[int, bool]:
        found = await page(guest if path == PATH else emma, path, query)
        return found["total"], found["total_is_exact"]

    assert await total("") == await total("limit=2") == await total("sort=name&limit=9") == (len(slugs), True)
    assert await total("q=emile&limit=1") == await total("q=emile") == (3, True)
    assert await total("q=nothing") == (0, True)
    assert await total("limit=2", OWN) == (9, True)
    demo.execute(
        """INSERT INTO registries (shop_id, slug, title, event_type, visibility, customer_email, customer_first_name,
               customer_last_name)
           SELECT 1, 'r-' || n, 'Registry', 'wedding', 'public', 'a@example.com', 'A', 'B'
           FROM generate_series(%s::int, %s) n""",
        [len(slugs), EXACT_TOTAL],
    )
    assert await total("limit=3") == (EXACT_TOTAL, False)
    demo.execute("DELETE FROM registries WHERE slug = %s", [f"r-{EXACT_TOTAL}"])
    assert await total("limit=4") == (EXACT_TOTAL, True)
    assert await total("limit=3", OWN) == (9, True)
    second = await page(guest, PATH, f"limit=2&cursor={(await page(guest, PATH, 'limit=2'))['next_cursor']}")
    assert (second["total"], second["total_is_exact"]) == (EXACT_TOTAL, True)


async def test_cursor_of_another_list_is_refused(emma: Shopper, guest: Shopper, slugs: list[str]) -> None:
    queries = [
        "sort=newest",
        "sort=name",
        "sort=event_date",
        "q=a",
        "q=None",
        "event_type=general",
        "event_to=2029-01-01",
    ]
    cursors = {query: (await page(guest, PATH, f"{query}&limit=1"))["next_cursor"] for query in queries}
    cursors["own"] = (await page(emma, OWN, "limit=1"))["next_cursor"]
    for query, cursor in cursors.items():
        for other in queries:
            answer = await emma.send("GET", f"{PATH}?{other}&cursor={cursor}")
            assert cursor is None or answer.status_code == (200 if other == query else 422), (query, other)
            assert answer.status_code == 200 or problem(answer) == (422, "invalid-request")
        answer = await emma.send("GET", f"{OWN}?cursor={cursor}")
        assert cursor is None or answer.status_code == (200 if query == "own" else 422), query


async def test_malformed_cursor_is_refused(guest: Shopper, slugs: list[str]) -> None:
    cursors = {sort: (await page(guest, PATH, f"sort={sort}&limit=1"))["next_cursor"] for sort in ORDERS}
    digests = {}
    for sort, cursor in cursors.items():
        digests[sort], *position = json.loads(urlsafe_b64decode(cursor + "=="))
        assert len(position) == 2

    def made(content: object) -> str:
        return urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    positions: dict[str, list[list[Any]]] = {
        "newest": [
            [None, 0], [None, -1], [None, 2**63], [None, True], [None, "5"], [None, 1.5], ["x", 5], [None],
            [None, 5, 5], [None, {}],
        ],
        "event_date": [["tomorrow", 5], ["2027-02-30", 5], ["20270612", 5], ["infinity", 5], ["", 5], [7, 5]],
        "name": [[None, 5], ["\0", 5], ["\ud800", 5], [["a"], 5]],
    }  # fmt: skip
    refused = [(sort, made([digests[sort], *position])) for sort in positions for position in positions[sort]]
    refused += [("newest", made(content)) for content in ("", 5, [1], None)]
    refused += [("name", text) for text in ("100000001", "x", "=", "%00", "A" * 600, "A" * 601, "é", "../", "null")]
    for sort, cursor in refused:
        answer = await guest.send("GET", f"{PATH}?sort={sort}&cursor={cursor}")
        assert problem(answer) == (422, "invalid-request"), (sort, cursor)
    for sort, position in (("newest", [None, 1]), ("event_date", [None, 1]), ("name", ["'; --%", 2**63 - 1])):
        forged = made([digests[sort], *position])
        assert (await guest.send("GET", f"{PATH}?sort={sort}&cursor={forged}")).status_code == 200


async def test_list_is_not_taken_from_the_browsers_cache_after_a_change_or_a_login(
    client: httpx.AsyncClient, key: dict[str, str], emma: Shopper, guest: Shopper
) -> None:
    for answer in (await guest.send("GET", PATH), await emma.send("GET", PATH), await client.get(PATH, headers=key)):
        assert answer.headers["cache-control"] == "private, no-cache"


async def test_longest_titles_can_be_sorted_by(emma: Shopper, guest: Shopper) -> None:
    titles = ["\ufdfa" * 120, "\ufdfa" * 119 + "b", "🎁" * 120, "ß" * 120]  # one letter folds to eighteen
    made = [await emma.create(title=title) for title in titles]
    assert sorted(await walk(guest, PATH, "sort=name&limit=1")) == sorted(made)


async def test_each_order_and_filter_has_its_index(
    resources: Resources, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo.execute(FILL)
    demo.execute("ANALYZE registries")
    calls: list[Call] = []

    async def record(_db: Database, recorded: list[Call]) -> Any:
        calls.extend(recorded)
        return [[], [(0, None, None)]]

    monkeypatch.setattr(Database, "fetch_each", record)
    for request, search, index in (
        (PageRequest(20, ListSort.EVENT_DATE), Search(), "ix_registries_list_by_event"),
        (PageRequest(20, ListSort.EVENT_DATE, Position("2027-02-01", 5)), Search(), "ix_registries_list_by_event"),
        (PageRequest(20, ListSort.EVENT_DATE), Search(event_from=date(2027, 2, 20)), "ix_registries_list_by_event"),
        (PageRequest(20, ListSort.NAME), Search(), "ix_registries_list_by_name"),
        (PageRequest(20, ListSort.NAME, Position("registry 30", 5)), Search(), "ix_registries_list_by_name"),
        (PageRequest(20, ListSort.NAME), Search(event_type=EventType.BABY), "ix_registries_list_by_type"),
    ):
        await list_public(resources.db, 1, request, search, resources.shopify_origin)
        statement, parameters = calls[0]
        async with resources.db.write([]) as transaction:
            cursor = AsyncRawCursor(transaction.driver.connection)
            await cursor.execute(b"EXPLAIN (COSTS OFF) " + statement.sql, parameters)
            text = "\n".join(line for (line,) in await cursor.fetchall())
        assert f"using {index} " in text, text
        if request.after or index != "ix_registries_list_by_type":
            assert "Sort Key: (COALESCE" not in text, text
        calls.clear()
