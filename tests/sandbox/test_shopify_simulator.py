"""The simulator enforces Shopify's limits and can be controlled over HTTP."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest

from deployments.sandbox.catalogue import DEMO_SHOPS, NEW_SHOP
from deployments.sandbox.processes import free_port
from deployments.sandbox.shopify.app import create_app
from deployments.sandbox.shopify.bulk import MAX_RUNNING
from deployments.sandbox.shopify.credentials import LIFETIME, Credentials
from deployments.sandbox.shopify.faults import FaultKind
from deployments.sandbox.shopify.simulator import API_KEY, API_SECRET, Options, Simulator
from tests.support.waiting import block_until, wait_until

DEMO = DEMO_SHOPS[0]
BAD_TOKEN = {"errors": "[API] Invalid API key or access token (unrecognized login or wrong password)"}


class Shop:
    """One simulated shop over HTTP."""

    def __init__(self, http: httpx.AsyncClient, simulator: Simulator) -> None:
        self.http = http
        self.simulator = simulator
        self.ids = simulator.shops[DEMO.domain].inventory.variant_ids()

    async def post(
        self, document: str, /, token: str = DEMO.access_token, version: str = "2026-10", **variables: Any
    ) -> Any:
        body = {"query": document, "variables": variables}
        headers = {"X-Shopify-Access-Token": token}
        return await self.http.post(f"/{DEMO.domain}/admin/api/{version}/graphql.json", json=body, headers=headers)

    async def ask(self, document: str, /, **variables: Any) -> Any:
        return (await self.post(document, **variables)).json()

    async def control(self, method: str, path: str, body: object = None) -> Any:
        response = await self.http.request(method, f"/{DEMO.domain}/{path}", json=body)
        response.raise_for_status()
        return response.json()


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    app = create_app(Options(products=150, clock=lambda: 1_790_000_000.0))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        yield Shop(http, app.state.simulator)


def gids(numbers: list[int]) -> list[str]:
    return [f"gid://shopify/ProductVariant/{number}" for number in numbers]


NODES = "query($ids: [ID!]!) { nodes(ids: $ids) { id ... on ProductVariant { product { id } } } }"
PAGE = "query($after: String) { productVariants(first: 100, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } }"  # noqa: E501  one query


async def test_unknown_api_version_is_404(shop: Shop) -> None:
    for version in ("2027-01", "2026-11", "latest"):
        assert (await shop.post("{ shop { id } }", version=version)).status_code == 404


async def test_query_of_an_ended_api_version_is_answered_in_the_present_one(shop: Shop) -> None:
    answer = await shop.post("{ shop { id } }", version="2024-01")
    assert (answer.status_code, answer.headers["X-Shopify-API-Version"]) == (200, "2026-10")


async def test_unknown_shop_is_404(shop: Shop) -> None:
    assert (await shop.http.get("/other.myshopify.com/requests")).status_code == 404


@pytest.mark.parametrize("token", ["", "shpat_wrong", DEMO_SHOPS[1].access_token])
async def test_invalid_token_is_refused_with_shopifys_message(token: str, shop: Shop) -> None:
    response = await shop.post("{ shop { id } }", token=token)
    assert (response.status_code, response.json()) == (401, BAD_TOKEN)


async def test_body_without_a_query_is_a_bad_request(shop: Shop) -> None:
    url, headers = f"/{DEMO.domain}/admin/api/2026-10/graphql.json", {"X-Shopify-Access-Token": DEMO.access_token}
    assert (await shop.http.post(url, content=b"nonsense", headers=headers)).status_code == 400


@pytest.mark.parametrize(
    ("ids", "code"),
    [
        (gids(list(range(251))), "MAX_INPUT_SIZE_EXCEEDED"),
        (["7"], "INVALID_VARIABLE"),
        (["gid://other/X/7"], "INVALID_VARIABLE"),
    ],
)
async def test_too_many_or_invalid_ids_are_refused(ids: list[str], code: str, shop: Shop) -> None:
    answer = await shop.ask(NODES, ids=ids)
    assert "data" not in answer
    assert answer["errors"][0]["extensions"]["code"] == code


@pytest.mark.parametrize(
    "query", ["{ nothing }", "{ shop { id }", "query($n: Int!) { products(first: $n) { nodes { id } } }"]
)
async def test_invalid_query_is_refused_without_data(query: str, shop: Shop) -> None:
    answer = await shop.ask(query)
    assert answer["errors"]
    assert "data" not in answer


@pytest.mark.parametrize(
    ("query", "requested", "actual"),
    [
        ("{ shop { id name } }", 1, 1),
        ("{ productVariants(first: 5) { edges { cursor node { id price } } pageInfo { hasNextPage } } }", 7, 7),
        ("{ productVariants(first: 5) { nodes { product { id } inventoryItem { id } } } }", 17, 17),
        ('{ nodes(ids: ["gid://shopify/ProductVariant/1"]) { ... on ProductVariant { product { id } } } }', 2, 0),
        ('{ node(id: "gid://shopify/Product/1") { id ... on ProductVariant { product { id } } } }', 2, 0),
        ('mutation { bulkOperationRunQuery(query: "{ products { nodes { id } } }") { bulkOperation { id } } }', 10, 10),
    ],
)
async def test_query_cost_is_the_sum_of_its_parts(query: str, requested: int, actual: int, shop: Shop) -> None:
    cost = (await shop.ask(query))["extensions"]["cost"]
    assert (cost["requestedQueryCost"], cost["actualQueryCost"]) == (requested, actual)
    assert cost["throttleStatus"] == {"maximumAvailable": 2000, "currentlyAvailable": 2000 - actual, "restoreRate": 100}


async def test_query_over_a_thousand_points_is_refused_and_costs_nothing(shop: Shop) -> None:
    answer = await shop.ask("{ products(first: 250) { nodes { variants(first: 10) { nodes { id } } } } }")
    assert answer["errors"][0]["extensions"]["code"] == "MAX_COST_EXCEEDED"
    assert (await shop.control("GET", "requests"))["points_spent"] == 0


async def test_empty_bucket_throttles_until_the_rate_limit_is_disabled(shop: Shop) -> None:
    shop.simulator.shops[DEMO.domain].bucket.drain()
    answer = await shop.ask("{ shop { id } }")
    assert "data" not in answer
    assert answer["errors"][0]["extensions"]["code"] == "THROTTLED"
    assert answer["extensions"]["cost"]["throttleStatus"]["currentlyAvailable"] == 0
    await shop.control("PUT", "rate-limit", {"enabled": False})
    assert (await shop.ask("{ shop { id } }"))["data"]
    assert (await shop.control("GET", "requests"))["throttled"] == 1


async def test_pagination_returns_all_variants(shop: Shop) -> None:
    seen: list[str] = []
    after = None
    more = True
    while more:
        found = (await shop.ask(PAGE, after=after))["data"]["productVariants"]
        seen += [node["id"] for node in found["nodes"]]
        more, after = found["pageInfo"]["hasNextPage"], found["pageInfo"]["endCursor"]
    assert seen == gids(shop.ids)


async def test_inventory_levels_have_the_requested_quantities(shop: Shop) -> None:
    await shop.control("PATCH", f"variants/{shop.ids[0]}", {"quantity": 17})
    query = 'query($ids: [ID!]!) { nodes(ids: $ids) { ... on ProductVariant { inventoryItem { inventoryLevels(first: 1) { nodes { quantities(names: ["available"]) { name quantity } } } } } } }'  # noqa: E501  one query
    [node] = (await shop.ask(query, ids=gids(shop.ids[:1])))["data"]["nodes"]
    [level] = node["inventoryItem"]["inventoryLevels"]["nodes"]
    assert level["quantities"] == [{"name": "available", "quantity": 17}]


START = "mutation($query: String!) { bulkOperationRunQuery(query: $query, groupObjects: false) { bulkOperation { id status } userErrors { code message } } }"  # noqa: E501  one query
DEEP = "{ products { nodes { id variants { nodes { id inventoryItem { inventoryLevels { nodes { id } } } } } } } }"
ALIASES = "{ products { nodes { id " + " ".join(f"v{n}: variants {{ nodes {{ id }} }}" for n in range(5)) + " } } }"


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("{ shop { id } }", "at least one connection"),
        (DEEP, "nesting depth greater than 2"),
        (ALIASES, "more than 5 connections"),
        ("{ products { nodes { id } } shop { id } }", "exactly one top-level field"),
        ('{ nodes(ids: ["gid://shopify/Product/1"]) { id } }', "`node` and `nodes`"),
        ("{ products { nodes { nothing } } }", "Cannot query field"),
        ("{ products { edges { node { variants { nodes { id } } } } } }", "must select `id`"),
    ],
)
async def test_query_that_cannot_run_in_bulk_is_refused(query: str, reason: str, shop: Shop) -> None:
    payload = (await shop.ask(START, query=query))["data"]["bulkOperationRunQuery"]
    assert payload["bulkOperation"] is None
    assert payload["userErrors"][0]["code"] == "INVALID"
    assert reason in payload["userErrors"][0]["message"]


async def test_at_most_five_bulk_operations_run_at_once() -> None:
    app = create_app(Options(products=2, bulk_seconds=3600))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http:
        shop = Shop(http, app.state.simulator)
        answers = [await shop.ask(START, query="{ products { nodes { id } } }") for _ in range(MAX_RUNNING + 1)]
    errors = [answer["data"]["bulkOperationRunQuery"]["userErrors"] for answer in answers]
    assert errors[:MAX_RUNNING] == [[]] * MAX_RUNNING
    assert errors[MAX_RUNNING][0]["code"] == "LIMIT_REACHED"


async def test_bulk_operation_completes_with_a_file(shop: Shop) -> None:
    started = (await shop.ask(START, query="{ productVariants { edges { node { id } } } }"))["data"]
    operation = started["bulkOperationRunQuery"]["bulkOperation"]
    assert operation["status"] == "CREATED"
    read = "query($id: ID!) { bulkOperation(id: $id) { id status url objectCount rootObjectCount } }"

    async def is_completed() -> bool:
        operation.update((await shop.ask(read, id=operation["id"]))["data"]["bulkOperation"])
        return bool(operation["status"] == "COMPLETED")

    await wait_until(is_completed, pause=0)  # the operation's task runs in this event loop
    lines = (await shop.http.get(operation["url"])).text.splitlines()
    assert [json.loads(line)["id"] for line in lines] == gids(shop.ids)
    assert operation["objectCount"] == operation["rootObjectCount"] == str(len(shop.ids))
    assert (await shop.http.get(f"/{DEMO.domain}/downloads/guessed.jsonl")).status_code == 404


async def test_image_urls_answer_with_the_picture_of_the_product(shop: Shop) -> None:
    query = "query($id: ID!) { productVariant(id: $id) { product { featuredMedia { preview { image { url } } } } } }"
    pictures = []
    for number, handle in zip(shop.ids[::40][:3], ("wool-throw", 'a-<b>&"quoted"\0-vase', "晩餐"), strict=True):
        variant = shop.simulator.shops[DEMO.domain].inventory.find(number)
        assert variant
        variant.handle = handle
        shown = (await shop.ask(query, id=gids([number])[0]))["data"]["productVariant"]["product"]
        url = shown["featuredMedia"]["preview"]["image"]["url"].replace("\0", "%00")
        answers = [await shop.http.get(url) for _ in range(2)]
        assert {answer.headers["content-type"] for answer in answers} == {"image/svg+xml"}
        assert answers[0].content == answers[1].content
        assert ET.fromstring(answers[0].content).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314  ours
        pictures.append(answers[0].content)
    assert len(set(pictures)) == 3
    assert (await shop.http.get("/another.myshopify.com/images/wool-throw.svg")).status_code == 404


async def test_variant_changed_by_hand_is_served_and_not_changed_by_the_tick(shop: Shop) -> None:
    number = shop.ids[0]
    change = {"price": "9.90", "quantity": 3, "policy": "continue", "product_status": "DRAFT", "compare_at_price": None}
    changed = await shop.control("PATCH", f"variants/{number}", change)
    assert (changed["price"], changed["quantity"], changed["by_hand"]) == ("9.90", 3, True)
    before = await shop.control("GET", "variants?limit=250")
    for _ in range(2000):
        shop.simulator.shops[DEMO.domain].inventory.tick()
    after = await shop.control("GET", "variants?limit=250")
    assert after["variants"][0] == before["variants"][0]
    assert sum(new != old for new, old in zip(after["variants"], before["variants"], strict=True)) > 200
    query = NODES.replace("product { id }", "price inventoryPolicy product { status }")
    [node] = (await shop.ask(query, ids=gids([number])))["data"]["nodes"]
    assert node == {
        "id": gids([number])[0],
        "price": "9.90",
        "inventoryPolicy": "CONTINUE",
        "product": {"status": "DRAFT"},
    }


async def test_variants_are_found_by_words_of_their_titles(shop: Shop) -> None:
    every = (await shop.control("GET", "variants?limit=250"))["variants"]
    found = await shop.control("GET", "variants?limit=250&q=SAGE%20blan")
    expected = [each for each in every if each["variant_title"] == "Sage" and "Blanket" in each["product_title"]]
    assert expected
    assert found["variants"][: len(expected)] == expected  # `every` is the first page
    assert {each["variant_title"] for each in found["variants"]} == {"Sage"}
    assert found["next"] is None
    first = await shop.control("GET", "variants?limit=1&q=sage")
    second = await shop.control("GET", f"variants?limit=1&q=sage&after={first['next']}")
    assert [each["variant_title"] for each in first["variants"] + second["variants"]] == ["Sage", "Sage"]
    assert first["variants"] != second["variants"]


@pytest.mark.parametrize("price", ["-1", "NaN", "Infinity", "cheap", "1e30"])
async def test_price_that_is_none_is_refused(shop: Shop, price: str) -> None:
    path = f"/{DEMO.domain}/variants/{shop.ids[0]}"
    before = (await shop.http.get(path)).json()
    assert (await shop.http.patch(path, json={"price": price})).status_code == 422
    assert (await shop.http.get(path)).json() == before


async def test_requests_with_a_fault_are_counted(shop: Shop) -> None:
    assert (await shop.control("GET", "requests"))["faults"] == {}
    await shop.control("PUT", "faults", {"kind": "throttle", "remaining": 2})
    for _ in range(3):
        await shop.ask("{ shop { name } }")
    assert (await shop.control("GET", "requests"))["faults"] == {"throttle": 2}


async def test_tick_is_deterministic_for_a_seed() -> None:
    stocks = [Simulator(Options(products=20, clock=lambda: 0.0)).shops[DEMO.domain].inventory for _ in range(2)]
    for stock in stocks:
        for _ in range(50):
            stock.tick()
    first, second = ([stock.find_or_deleted(number) for number in stock.variant_ids()] for stock in stocks)
    assert first == second


def test_program_changes_its_inventory_and_reads_the_app_from_the_environment(tmp_path: Path) -> None:
    port = free_port()
    program = (sys.executable, "-m", "deployments.sandbox.shopify", "--port", str(port))
    options = ("--products", "5", "--tick", "0.01", "--state", str(tmp_path / "tokens.json"))
    environment = os.environ | {"SHOPIFY_API_KEY": "our-app", "SHOPIFY_API_SECRET": "our-secret"}
    shop = f"http://127.0.0.1:{port}/{DEMO.domain}"
    patient = httpx.HTTPTransport(retries=8)  # until it listens
    with (
        subprocess.Popen((*program, *options), env=environment) as process,  # noqa: S603  our own program
        httpx.Client(transport=patient) as http,
    ):
        try:
            opening = http.get(f"{shop}/variants").json()
            block_until(lambda: http.get(f"{shop}/variants").json() != opening)
            form = {"client_id": "our-app", "client_secret": "our-secret", "grant_type": "refresh_token"}
            answer = http.post(f"{shop}/admin/oauth/access_token", data={**form, "refresh_token": DEMO.refresh_token})
            assert answer.status_code == 200
        finally:
            process.terminate()
    assert answer.json()["access_token"] in (tmp_path / "tokens.json").read_text(encoding="utf-8")


async def test_deleted_variant_can_be_restored(shop: Shop) -> None:
    number = shop.ids[0]
    await shop.control("DELETE", f"variants/{number}")
    assert (await shop.ask(NODES, ids=gids([number])))["data"]["nodes"] == [None]
    assert (await shop.control("GET", f"variants/{number}"))["deleted"] is True
    await shop.control("POST", f"variants/{number}/restore")
    assert (await shop.ask(NODES, ids=gids([number])))["data"]["nodes"][0]["id"] == gids([number])[0]


async def test_faults_are_counted_down_and_removed(shop: Shop) -> None:
    assert await shop.control("PUT", "faults", {"kind": "unavailable", "remaining": 1})
    assert (await shop.post("{ shop { id } }")).status_code == 503
    assert (await shop.post("{ shop { id } }")).status_code == 200
    await shop.control("PUT", "faults", {"kind": "malformed", "remaining": None})
    assert [fault["kind"] for fault in await shop.control("GET", "faults")] == ["malformed"]
    assert await shop.control("PUT", "faults", {"kind": "malformed", "remaining": 0}) == []


async def test_token_is_issued_only_for_the_secret_of_the_app(shop: Shop) -> None:
    url = f"/{DEMO.domain}/admin/oauth/access_token"
    good = {
        "client_id": API_KEY,
        "client_secret": API_SECRET,
        "grant_type": "refresh_token",
        "refresh_token": DEMO.refresh_token,
    }
    for wrong, status in (("client_secret", 401), ("client_id", 401), ("refresh_token", 400), ("grant_type", 400)):
        assert (await shop.http.post(url, data={**good, wrong: "wrong"})).status_code == status
    pair = (await shop.http.post(url, json=good)).json()
    assert pair["expires_in"] == LIFETIME
    assert (await shop.post("{ shop { id } }")).status_code == 200
    assert (await shop.post("{ shop { id } }", token=pair["access_token"])).status_code == 200
    assert (await shop.post("{ shop { id } }")).status_code == 401  # the first use of the new token invalidated it


def test_issued_tokens_survive_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    pair = Credentials(lambda: 0.0, file).refresh(DEMO.domain, DEMO.refresh_token)
    assert pair
    restarted = Credentials(lambda: 10.0, file)
    assert restarted.accepts(DEMO.domain, pair.access)
    assert not restarted.accepts(DEMO.domain, DEMO.access_token)
    assert not Credentials(lambda: LIFETIME + 1.0, file).accepts(DEMO.domain, pair.access)
    assert file.stat().st_mode & 0o077 == 0


async def test_page_loads_no_external_resources(shop: Shop) -> None:
    page = await shop.http.get("/")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "://" not in page.text
    overview = (await shop.http.get("/shops")).json()
    assert [one["domain"] for one in overview["shops"]] == [demo.domain for demo in (*DEMO_SHOPS, NEW_SHOP)]
    assert list(overview["fault_kinds"]) == list(FaultKind)
    assert (await shop.http.get("/health")).json() == {"status": "ok"}
