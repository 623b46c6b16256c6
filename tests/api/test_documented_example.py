"""The requests in docs/api.md get the answers that are written below them."""

from http import HTTPStatus
from typing import Final

import httpx

from api.schemas.responses import OwnRegistryAnswer
from tests.support.api import WEDDING, Shopper
from tests.support.docs import section
from tests.support.http_messages import read_messages

MADE: Final = {"id", "slug", "share_url"}
"""Fields whose values are new each time."""


async def test_example_requests_get_the_documented_answers(
    client: httpx.AsyncClient, key: dict[str, str], emma: Shopper
) -> None:
    messages = read_messages(section("docs/api.md", "Example"))
    assert len(messages) == 4
    known = key | {"X-Customer-Id": str(emma.customer_id)}
    created = await client.post("/api/registries", json=WEDDING, headers=known)
    slug = created.json()["slug"]
    for (line, headers, body), (status, shown, expected) in zip(messages[::2], messages[1::2], strict=True):
        method, path = line.split(" ")
        etag = (await client.get(f"/api/registries/{slug}", headers=known)).headers["etag"]
        assert headers.keys() == {"If-Match", "Content-Type", *known}
        sent = headers | known | {"If-Match": etag}
        answer = await client.request(method, f"{path.rpartition('/')[0]}/{slug}", json=body, headers=sent)
        assert status == f"{answer.status_code} {HTTPStatus(answer.status_code).phrase}"
        assert shown["Content-Type"] == answer.headers["content-type"]
        assert {name.lower() for name in shown} <= answer.headers.keys()
        actual = answer.json()
        if answer.status_code == HTTPStatus.OK:
            OwnRegistryAnswer.model_validate(expected)
            actual |= {name: expected[name] for name in MADE}
        assert actual == expected
