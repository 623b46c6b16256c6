"""The stories of the API's documentation: each request is sent, and gets the answer below it."""

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from api.documentation import DESCRIPTION
from tests.support.aliases import Demo
from tests.support.api import SHOP
from tests.support.http_messages import Message, read_messages
from tests.support.living_shop import LivingShop, consume, living_shop
from tests.support.waiting import wait_until
from wishcraft.resources import Resources

STORIES: Final = (Path(__file__).parents[2] / "api/templates/stories.md").read_text()
MADE: Final = {"id", "slug", "attribution"}
"""Fields whose values are new each time."""
MADE_HEADERS: Final = {"etag", "location"}


class Reader:
    """Compares answers with those of a story, and learns the values that are new each time."""

    def __init__(self, key: str) -> None:
        self._actual = {"K": key}

    def translate(self, text: str) -> str:
        """The text of a request, with the values of this test in place of the story's."""
        for shown, actual in self._actual.items():
            text = re.sub(rf"(?<![\w-]){re.escape(shown)}(?![\w-])", lambda _, actual=actual: actual, text)  # type: ignore[misc]
        return text

    def compare(self, shown: Any, actual: Any, name: str = "") -> None:
        """Assert that the answer has all that the story shows."""
        if isinstance(shown, dict):
            for key, value in shown.items():
                self.compare(value, actual[key], key)
        elif isinstance(shown, list):
            assert len(shown) == len(actual), name
            for one, other in zip(shown, actual, strict=True):
                self.compare(one, other, name)
        elif name in MADE:
            self._learn(str(shown), str(actual))
        else:
            assert shown == actual, name

    def compare_headers(self, shown: Mapping[str, str], actual: Mapping[str, str]) -> None:
        """As `compare`, of headers."""
        for name, value in shown.items():
            if name.lower() in MADE_HEADERS:
                self._learn(value.rpartition("/")[2], actual[name].rpartition("/")[2])
            else:
                assert value == actual[name], name

    def _learn(self, shown: str, actual: str) -> None:
        self._actual[shown] = actual


@pytest.fixture
def reader(key: dict[str, str]) -> Reader:
    """A reader who has the key of a server of `SHOP`."""
    return Reader(key["X-API-Key"])


async def send(request: Message, client: httpx.AsyncClient, shop: LivingShop, reader: Reader) -> httpx.Response:
    """Send a request of a story to the API, or to the shop that `Host` names."""
    method, path = reader.translate(request.first_line).split(" ")
    headers = {name: reader.translate(value) for name, value in request.headers.items()}
    content = request.body and reader.translate(json.dumps(request.body))
    host = headers.pop("Host", None)
    if host is None:
        return await client.request(method, path, headers=headers, content=content)
    assert host == SHOP
    return await shop.http.request(method, f"/{SHOP}{path}", headers=headers, content=content)


async def buy(request: Message, shop: LivingShop, reader: Reader) -> None:
    """Order what the request puts into the cart."""
    cart = json.loads(reader.translate(json.dumps(request.body)))
    lines = [
        {"variant_id": each["id"], "quantity": each["quantity"], "registry_item": each["properties"]["_registry_item"]}
        for each in cart["items"]
    ]
    await shop.order(*lines)


async def test_requests_of_the_stories_get_the_answers_below_them(
    client: httpx.AsyncClient, resources: Resources, demo: Demo, reader: Reader
) -> None:
    demo.execute("TRUNCATE webhook_events")
    messages = iter(read_messages(STORIES))
    answered = 0
    async with living_shop(client._transport) as shop:

        async def is_handled() -> bool:
            await shop.simulator.webhooks.drain()
            await consume(resources)
            return demo.execute("SELECT FROM purchases WHERE item_id = %s", [item]).fetchone() is not None

        for request in messages:
            if request.first_line == "POST /cart/add.js":
                await buy(request, shop, reader)
                item = int(reader.translate("100000002"))
                await wait_until(is_handled, "the purchase")
                continue
            shown = next(messages)
            answer = await send(request, client, shop, reader)
            status = HTTPStatus(answer.status_code)
            assert shown.first_line == f"{status.value} {status.phrase}", answer.text
            reader.compare_headers(shown.headers, answer.headers)
            reader.compare(shown.body, answer.json() if answer.content else None)
            answered += 1
    assert answered == STORIES.count("\n20") + STORIES.count("\n304") == 8
    demo.execute("TRUNCATE webhook_events")


def test_swagger_ui_and_the_api_page_have_the_stories() -> None:
    assert STORIES in DESCRIPTION
    assert STORIES.strip() in (Path(__file__).parents[2] / "docs/api.md").read_text()


def test_script_of_the_embedded_page_sends_the_request_below_it() -> None:
    fetched = re.findall(r'fetch\("([^"]+)"\)', STORIES)
    shown = [message.first_line.removeprefix("GET ") for message in read_messages(STORIES)]
    assert len(fetched) == 1
    assert set(fetched) <= set(shown)
