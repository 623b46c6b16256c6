"""Lists refuse parameters that they do not name, but those that Shopify's app proxy adds, and repeated ones."""

import httpx
import pytest

from api.app import create_app
from tests.support.api import Shopper, problem
from wishcraft.settings import Settings

LISTS = ["/api/registries", "/api/my-registries", "/api/products?ids=1"]


@pytest.mark.parametrize("path", LISTS)
async def test_list_refuses_a_parameter_that_it_does_not_name(emma: Shopper, path: str) -> None:
    assert (await emma.send("GET", path)).status_code == 200  # with the signed parameters
    refused = await emma.send("GET", f"{path}{'&' if '?' in path else '?'}lmit=5&statsu=x")
    assert problem(refused) == (422, "invalid-request")
    named = [error["parameter"] for error in refused.json()["errors"]]
    assert named == ["lmit", "statsu"]
    assert refused.json()["detail"].startswith("Unknown parameters: lmit, statsu. Known are ")


async def test_refusal_names_the_parameters_of_the_list(client: httpx.AsyncClient, key: dict[str, str]) -> None:
    refused = await client.get("/api/registries", params={"event": "wedding"}, headers=key)
    assert "Known are q, event_type, event_from, event_to, sort, limit, cursor." in refused.json()["detail"]


async def test_request_without_credentials_learns_no_parameters(client: httpx.AsyncClient) -> None:
    assert problem(await client.get("/api/registries", params={"event": "wedding"})) == (401, "unauthorized")


@pytest.mark.parametrize(
    ("path", "query", "repeated"),
    [
        ("/api/registries", "limit=5&limit=10", ["limit"]),
        ("/api/registries", "q=a&sort=newest&q=a&sort=newest&limit=3", ["q", "sort"]),
        ("/api/my-registries", "status=active&status=paused&sort=newest&sort=newest", ["sort"]),
        ("/api/products", "ids=1&ids=2", []),
        ("/api/my-registries", "status=active&status=paused", []),
        ("/api/registries/{slug}/items", "price_min=1&price_min=2", ["price_min"]),
        ("/api/registries/{slug}/items", "grant=a&available=true&available=false&grant=b", ["available", "grant"]),
    ],
)
async def test_list_refuses_a_parameter_that_is_repeated_unless_it_may_be(
    client: httpx.AsyncClient, key: dict[str, str], slug: str, path: str, query: str, repeated: list[str]
) -> None:
    answer = await client.get(f"{path.format(slug=slug)}?{query}", headers=key | {"X-Customer-Id": "1"})
    if repeated:
        assert problem(answer) == (422, "invalid-request")
        assert sorted(error["parameter"] for error in answer.json()["errors"]) == repeated
        assert answer.json()["detail"].startswith("Repeated parameters: ")
    else:
        assert answer.status_code == 200, answer.text


def test_parameters_that_may_be_repeated_are_those_that_the_document_says_are_arrays(settings: Settings) -> None:
    app = create_app(settings)
    arrays = {
        (path, parameter["name"])
        for path, operations in app.openapi()["paths"].items()
        for operation in operations.values()
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "query" and parameter["schema"].get("type") == "array"
    }
    assert arrays == {("/api/my-registries", "status"), ("/api/products", "ids")}
