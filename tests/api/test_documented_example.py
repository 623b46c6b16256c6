"""The requests in docs/api.md get the answers that stand below them."""

import json
import re
from email.parser import HeaderParser
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import httpx

from api.schemas.responses import OwnRegistryAnswer
from tests.support.api import Visitor

PAGE: Final = Path(__file__).parents[2] / "docs/api.md"
MADE: Final = {"id", "slug", "share_url"}
"""Fields whose values are new each time."""


def parse(block: str) -> tuple[str, dict[str, str], Any]:
    """First line, headers and JSON body of a message."""
    head, _, body = block.partition("\n\n")
    first, _, headers = head.partition("\n")
    return first, dict(HeaderParser().parsestr(headers).items()), json.loads(body)


async def test_example_requests_get_the_documented_answers(
    client: httpx.AsyncClient, key: dict[str, str], emma: Visitor
) -> None:
    messages = [parse(block) for block in re.findall(r"```http\n(.*?)```", PAGE.read_text(), re.DOTALL)]
    assert len(messages) == 4
    slug = await emma.create()
    known = key | {"X-Customer-Id": str(emma.customer_id)}
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
