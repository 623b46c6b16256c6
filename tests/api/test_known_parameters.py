"""Lists refuse parameters that they do not name, but those that Shopify's app proxy adds."""

import httpx
import pytest

from tests.support.api import Shopper, problem

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
