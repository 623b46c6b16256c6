from collections.abc import Callable, Iterator
from itertools import chain
from urllib.parse import urlencode

import httpx
import pytest

from api.schemas.responses import OwnRegistryList, RegistryList
from tests.support.aliases import Demo
from tests.support.api import Shopper, problem
from tests.support.recorded_statements import recorded_statements
from wishcraft.domain.folding import fold
from wishcraft.store.schema.registries import _folded

PATH = "/api/registries"
OWN = "/api/my-registries"


@pytest.fixture
def queries(client: httpx.AsyncClient) -> Iterator[list[str]]:
    """Every statement that the API sends to PostgreSQL from here on, in order."""
    with recorded_statements() as statements:
        yield statements


@pytest.fixture(autouse=True)
def empty(demo: Demo) -> None:
    """The shops without their registries."""
    demo.execute("DELETE FROM registries")


def person(first: str, last: str) -> dict[str, str]:
    return {"first_name": first, "last_name": last, "email": "someone@example.com"}


async def found(shopper: Shopper, query: str) -> list[str]:
    """The titles that a search finds, in their order."""
    answer = await shopper.send("GET", f"{PATH}?{query}")
    assert answer.status_code == 200, answer.text
    return [each.title for each in RegistryList.model_validate_json(answer.content).registries]


async def test_search_finds_titles_and_first_names_without_accents_and_case(emma: Shopper, guest: Shopper) -> None:
    await emma.create(title="Noël chez nous", registrant=person("Zoë", "Müller"), co_registrants=[])
    await emma.create(title="SPRING", registrant=person("Ren", "Sato"), co_registrants=[person("Åsa", "ÖBERG")])
    await emma.create(title="さくらの結婚式", registrant=person("Иван", "ПЕТРОВ"), co_registrants=[])
    for words, titles in {
        "noel": ["Noël chez nous"], "NOËL": ["Noël chez nous"], "zoe": ["Noël chez nous"], "muller": [], "mul": [],
        "chez zoe": ["Noël chez nous"], "zoe spring": [], "spring": ["SPRING"], "sato": [], "sa": ["SPRING"],
        "asa": ["SPRING"],
        "oberg": [], "Öberg": [], "rin": ["SPRING"], "さくら": ["さくらの結婚式"],
        "петров": [], "ИВАН": ["さくらの結婚式"], "someone": [], "orangery": [],
        '"': [], "[": [], "]": [], ",": [], '["': [], "\u00b4": [], "()": [], "asa example.com": [],
    }.items():  # fmt: skip
        assert await found(guest, f"q={words}") == titles, words
    assert len(await found(guest, "q=")) == len(await found(guest, "q=%20%09")) == 3


@pytest.mark.parametrize(
    ("title", "queries"),
    [
        ("Zqf ΟΔΥΣΣΕΑΣ", ["Zqf ΟΔΥΣΣΕΑΣ", "οδυσσεας", "οδυσσεασ", "Οδυσσέας"]),
        ("Anne-Marie · Zoé", ["anne\u2013marie", "Anne\u2011Marie", "anne marie", "zoe & anne", "marie + zoé"]),
        ("Hugo's party", ["hugo\u00b4s", "hugo\u2019s", "hugo's", "hugos", "Hugo`s party!"]),
        (
            "Emma & Noah",
            ["emma, noah", "noah; emma.", "emma & noah", "Emma,", "emma,noah", '"emma" (noah)', "emma/noah"],
        ),
        ("Søren Łukasz", ["soren", "lukasz", "SØREN", "łukasz"]),
        ("Straße æon þing œuvre", ["strasse", "STRASSE", "aeon", "thing", "oeuvre", "Œuvre"]),
        ("İstanbul \u0131l\u0131k", ["istanbul", "ilik", "ILIK"]),
        ("Đỗ Ħal Ŧest", ["do", "hal", "test"]),
    ],
)
async def test_search_and_title_are_folded_alike(emma: Shopper, guest: Shopper, title: str, queries: list[str]) -> None:
    await emma.create(title=title)
    for words in queries:
        assert await found(guest, urlencode({"q": words})) == [title], words
    assert await found(guest, urlencode({"q": "'"})) == []


def test_postgresql_folds_letters_as_the_domain_does(demo: Demo) -> None:
    ranges = (range(0x20, 0x250), range(0x370, 0x530), range(0x1E00, 0x2000), range(0x2010, 0x2030))
    letters = [letter for letter in map(chr, chain(*ranges)) if letter.isprintable()]
    rows = demo.execute(f"SELECT c, {_folded('c')} FROM unnest(%s::text[]) c".encode(), [letters]).fetchall()  # noqa: S608  ours
    assert len(rows) > 1_400
    assert [(letter, folded, fold(letter)) for letter, folded in rows if folded != fold(letter)] == []


async def test_search_treats_sql_pattern_characters_literally(emma: Shopper, guest: Shopper) -> None:
    await emma.create(title="100% us")
    await emma.create(title="you_and_me")
    await emma.create(title="either/or")
    await emma.create(title="back\\slash")
    for words, titles in {
        "%25": ["100% us"], "0%25u": [], "_": ["you_and_me"], "u_a": ["you_and_me"], "/": ["either/or"],
        "%5C": ["back\\slash"], "'%3B--": [], "%F0%9F%8E%81": [],
    }.items():  # fmt: skip
        assert await found(guest, f"q={words}") == titles, words


@pytest.mark.parametrize("words", ["%00", "us%00100"])
async def test_search_for_what_no_title_can_have_is_refused(guest: Shopper, words: str) -> None:
    answer = await guest.send("GET", f"/api/registries?q={words}")
    assert problem(answer) == (422, "invalid-request")
    assert answer.json()["errors"][0]["parameter"] == "q"
    assert "NUL" in answer.json()["detail"]


async def test_search_filters_by_event_type_and_date(emma: Shopper, guest: Shopper) -> None:
    for kind, day in (("wedding", "2027-06-12"), ("wedding", "2027-07-01"), ("baby", "2027-06-12"), ("baby", None)):
        await emma.create(title=f"{kind} {day}", event_type=kind, event_date=day)
    for query, titles in {
        "event_type=wedding": ["wedding 2027-07-01", "wedding 2027-06-12"],
        "event_type=holiday": [],
        "event_from=2027-06-13": ["wedding 2027-07-01"],
        "event_to=2027-06-12": ["baby 2027-06-12", "wedding 2027-06-12"],
        "event_from=2027-06-12&event_to=2027-06-12&event_type=baby": ["baby 2027-06-12"],
        "event_from=0001-01-01&event_to=9999-12-31&q=wedding%2007": ["wedding 2027-07-01"],
    }.items():
        assert await found(guest, query) == titles, query
    for query in ("event_type=party", "event_from=tomorrow", "event_to=2027-02-30", f"q={'x' * 101}", "evnt_type=baby"):
        assert problem(await guest.send("GET", f"{PATH}?{query}")) == (422, "invalid-request")


async def test_search_finds_only_public_active_registries_of_the_shop(
    client: httpx.AsyncClient, signed: Callable[..., str], emma: Shopper, guest: Shopper
) -> None:
    await emma.create(title="seen")
    for visibility in ("unlisted", "private"):
        await emma.create(title="seen not", visibility=visibility)
    await emma.create(title="seen not", visibility="password", access_code="very-secret")
    slug = await emma.create(title="seen not")
    await emma.send("DELETE", f"{PATH}/{slug}", if_match="*")
    await Shopper(client, signed, 1, "sakura-living.myshopify.com").create(title="seen elsewhere")
    assert await found(guest, "q=seen") == ["seen"]
    assert await found(emma, "q=seen") == ["seen"]


async def pages(shopper: Shopper, path: str) -> list[list[str]]:
    """The slugs of every page, one after another."""
    shown: list[list[str]] = []
    cursor = ""
    while True:
        page = (await shopper.send("GET", f"{path}{cursor}")).json()
        shown.append([each["slug"] for each in page["registries"]])
        if page["next_cursor"] is None:
            return shown
        cursor = f"&cursor={page['next_cursor']}"


async def test_pages_of_a_search_have_no_gap_and_no_repeat(emma: Shopper, guest: Shopper) -> None:
    slugs = [await emma.create(title=title) for title in ("one fits", "another", "two fits", "three fits", "four fits")]
    fitting = [slug for slug in reversed(slugs) if "fits" in slug]
    assert await pages(guest, f"{PATH}?q=fits&limit=2") == [fitting[:2], fitting[2:]]
    assert await pages(guest, f"{PATH}?q=fits&limit=3") == [fitting[:3], fitting[3:]]
    assert await pages(emma, f"{OWN}?limit=5") == [slugs[::-1]]
    assert await pages(emma, f"{OWN}?limit=4") == [slugs[:0:-1], slugs[:1]]
    first = (await guest.send("GET", f"{PATH}?q=fits&limit=2")).json()
    await emma.create(title="five fits")  # a new registry shifts no page
    second = (await guest.send("GET", f"{PATH}?q=fits&limit=2&cursor={first['next_cursor']}")).json()
    assert [each["slug"] for each in second["registries"]] == fitting[2:]


async def test_own_list_can_be_filtered_by_status(
    client: httpx.AsyncClient, key: dict[str, str], emma: Shopper, demo: Demo
) -> None:
    slugs = {status: await emma.create() for status in ("active", "paused", "completed", "archived")}
    for status, slug in slugs.items():
        demo.execute("UPDATE registries SET status = %s WHERE slug = %s", [status, slug])
    for status, slug in slugs.items():
        assert await pages(emma, f"{OWN}?status={status}") == [[slug]]
    shown = {**key, "X-Customer-Id": str(emma.customer_id)}
    query = f"{OWN}?status=active&status=archived&limit=1"
    first = (await client.get(query, headers=shown)).json()
    assert ([each["slug"] for each in first["registries"]], first["total"]) == ([slugs["archived"]], 2)
    second = (await client.get(f"{query}&cursor={first['next_cursor']}", headers=shown)).json()
    assert ([each["slug"] for each in second["registries"]], second["next_cursor"]) == ([slugs["active"]], None)
    other = await client.get(f"{OWN}?status=active&cursor={first['next_cursor']}", headers=shown)
    assert problem(other) == (422, "invalid-request")


async def test_customer_lists_all_own_registries_and_no_others(
    client: httpx.AsyncClient, key: dict[str, str], signed: Callable[..., str], emma: Shopper, hugo: Shopper
) -> None:
    kept = await emma.create(visibility="private")
    archived = await emma.create(title="Over")
    await emma.send("PATCH", f"{PATH}/{archived}", {"status": "archived"}, if_match="*")
    await hugo.create()
    await Shopper(client, signed, emma.customer_id, "sakura-living.myshopify.com").create()
    by_server = await client.get(OWN, headers={**key, "X-Customer-Id": str(emma.customer_id)})
    for answer in (await emma.send("GET", OWN), by_server):
        assert answer.headers["cache-control"] == "private, no-store"
        shown = OwnRegistryList.model_validate_json(answer.content)
        assert shown.next_cursor is None
        assert [(each.slug, each.status, each.visibility) for each in shown.registries] == [
            (archived, "archived", "public"), (kept, "active", "private"),
        ]  # fmt: skip
        own = shown.registries[1]
        assert (own.registrant.email, own.event_location) == ("emma.reed@example.com", "The Orangery")
        assert own.co_registrants[0].last_name == "Laurent"


async def test_own_list_requires_a_customer(
    client: httpx.AsyncClient, key: dict[str, str], guest: Shopper, demo: Demo
) -> None:
    demo.execute("UPDATE api_keys SET scopes = '{read}'")
    for answer in (
        await guest.send("GET", OWN),
        await client.get(OWN, headers=key),
        await client.get(OWN, headers={**key, "X-Customer-Id": "4711"}),
        await guest.send("GET", OWN, x_customer_id="4711"),
    ):
        assert problem(answer) == (403, "not-allowed")
    assert (await client.get(OWN)).status_code == 401


async def test_list_costs_two_queries_in_one_round_trip_regardless_of_length(emma: Shopper, queries: list[str]) -> None:
    for number in range(3):
        await emma.create(title=f"Number {number}")
    for path in (f"{PATH}?q=number&event_from=2020-01-01", PATH, OWN):
        queries.clear()
        assert len((await emma.send("GET", path)).json()["registries"]) == 3
        reads = [query for query in queries if "FROM registries" in query]  # the recorder writes views at any time
        assert len(reads) == 2, reads
