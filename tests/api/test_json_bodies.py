"""Bodies that are not JSON in UTF-8, and objects that are not those of the operation: each answer says what to send."""

import gzip
import json
from typing import Final

import httpx
import pytest
from fastapi.routing import APIRoute

from api.app import create_app
from api.auth.dependencies import AuthenticatedRoute
from tests.support.api import JSON, WEDDING, Shopper, problem
from tests.test_invalid_values import PYDANTICS
from wishcraft.settings import Settings

PATH: Final = "/api/registries"
BODY: Final = json.dumps(WEDDING).encode()


@pytest.mark.parametrize("coding", ["gzip", "br", "GZIP", "identity, gzip", "x"])
@pytest.mark.parametrize("body", [BODY, gzip.compress(BODY)])
async def test_compressed_body_is_415_with_the_codings_that_are_accepted(
    emma: Shopper, coding: str, body: bytes
) -> None:
    answer = await emma.send("POST", PATH, body, content_encoding=coding)
    assert problem(answer) == (415, "unsupported-media-type")
    assert answer.headers["accept-encoding"] == "identity"
    assert "Content-Encoding" in answer.json()["detail"]


@pytest.mark.parametrize("charset", ["latin-1", "iso-8859-1", "utf-16", '"windows-1252"', "", "utf-8; charset=latin-1"])
async def test_body_of_another_charset_is_415(emma: Shopper, charset: str) -> None:
    answer = await emma.send("POST", PATH, BODY, content_type=f"application/json; charset={charset}")
    assert problem(answer) == (415, "unsupported-media-type")
    assert answer.headers["accept"] == "application/json"
    assert "UTF-8" in answer.json()["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": "application/json;charset=UTF-8"},
        {"content_type": 'application/json; charset="utf-8"'},
        {"content_type": "application/json; charset=us-ascii; version=1"},
        {"content_type": "Application/Gift+JSON"},
        {"content_encoding": "identity"},
        {"content_encoding": ""},
    ],
)
async def test_headers_that_say_json_in_utf_8_are_accepted(emma: Shopper, headers: dict[str, str]) -> None:
    assert (await emma.send("POST", PATH, BODY, **headers)).status_code == 201


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (gzip.compress(BODY), "is not UTF-8"),
        ('{"title": "Zoë"}'.encode("latin-1"), "is not UTF-8"),
        (b'{"title": "\xc3\x28"}', "is not UTF-8"),
        (BODY.decode().encode("utf-16"), "is not UTF-8"),
        (BODY.decode().encode("utf-16-le"), "is UTF-16 or UTF-32"),
        (b"[" * 30_000, "is nested too deeply"),
        (b'{"a":' * 10_000, "is nested too deeply"),
        (b'{"title": ' + b"9" * 5_000 + b"}", "has a number with too many digits"),
        (b"", "Send a JSON object"),
        (b"null", "Send a JSON object"),
        (b"[]", "must be a JSON object"),
        (b'"x"', "must be a JSON object"),
        (b"5", "must be a JSON object"),
        (b"{", "is not valid JSON at character 2"),
    ],
)
async def test_unreadable_body_is_422_with_what_is_wrong(emma: Shopper, body: bytes, detail: str) -> None:
    answer = await emma.send("POST", PATH, body)
    assert problem(answer) == (422, "invalid-request")
    assert detail in answer.json()["detail"]
    [error] = answer.json()["errors"]
    assert (error["pointer"], answer.json()["detail"]) == ("#", f"body: {error['detail']}")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"titel": "x"}, "body.titel: is unknown. Did you mean title? Known are title, description, "),
        ({"event": {"day": 1}}, "body.event.day: is unknown. Known are type, date"),
        ({"co_registrants": [{"first_nam": "x"}]}, "body.co_registrants.0.first_nam: is unknown. Did you mean first_"),
        ({"event_date": "9999-12-31"}, "body.event_date: must be 2999-12-31 or earlier"),
        ({"event_date": "2027-02-30"}, "body.event_date: must be a date of the calendar, such as 2027-06-12"),
        ({"title": 5}, "body.title: must be a text in quotes"),
        ({"title": "\ud800"}, "body.title: has half of a surrogate pair"),
        ({"visibility": "open"}, "body.visibility: must be one of public, unlisted, password or private"),
        ({"registrant": None}, "body.registrant: must be a JSON object"),
        ({"co_registrants": {}}, "body.co_registrants: must be a list"),
    ],
)
async def test_invalid_field_is_answered_with_what_to_send(emma: Shopper, slug: str, body: object, detail: str) -> None:
    answer = await emma.send("PATCH", f"{PATH}/{slug}", body, if_match="*")
    assert problem(answer) == (422, "invalid-request")
    assert detail in answer.json()["detail"]
    assert not any(part in answer.text for part in PYDANTICS)


@pytest.mark.parametrize("quantity", ["2", True, 2.0, 1.5, "two", None])
async def test_number_of_pieces_is_a_number_of_json(emma: Shopper, slug: str, quantity: object) -> None:
    body = {"variant_id": 40000010000003, "quantity": quantity}
    answer = await emma.send("POST", f"{PATH}/{slug}/items", body)
    assert problem(answer) == (422, "invalid-request")
    assert answer.json()["detail"].startswith("body.quantity: must be a whole number such as 2")


async def test_invalid_parameter_is_answered_with_what_to_send(client: httpx.AsyncClient, key: dict[str, str]) -> None:
    for path, detail in (
        ("/api/registries?limit=ten", "query.limit: must be a whole number such as 2"),
        ("/api/registries?limit=101", "query.limit: must be 100 or less"),
        ("/api/registries?event_from=2027-02-30", "query.event_from: must be a date of the calendar"),
        ("/api/registries?cursor=!", "query.cursor: is not a cursor: send the `next_cursor`"),
    ):
        answer = await client.get(path, headers=key)
        assert (answer.status_code, answer.json()["detail"][: len(detail)]) == (422, detail)
    answer = await client.delete("/api/admin/keys/nope", headers=key)
    assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, "prefix")
    assert "is not the prefix of an API key, such as 0123456789ab" in answer.json()["detail"]
    values, headers = {"brand_colour": "red", "langauge": "de"}, key | {"If-Match": "*"}
    answer = await client.patch("/api/admin/settings", json=values, headers=headers)
    assert answer.json()["detail"].startswith("body.brand_colour: is not a colour such as #2f6f5e; body.langauge: is ")
    assert "Did you mean language?" in answer.json()["detail"]


async def test_every_route_with_a_body_of_json_refuses_others(settings: Settings) -> None:
    routes = [route for route in create_app(settings).routes if isinstance(route, APIRoute) and route.body_field]
    assert len(routes) >= 10
    assert [route.path for route in routes if not isinstance(route, AuthenticatedRoute)] == []


async def test_raw_bodies_are_not_read_as_json(client: httpx.AsyncClient) -> None:
    """Their signatures are over the bytes as they come."""
    headers = JSON | {"Content-Encoding": "gzip"}
    for path in ("/api/webhooks/shopify", "/api/mail-events/sendgrid", "/api/mail-events/ses"):
        assert (await client.post(path, content=gzip.compress(b"{}"), headers=headers)).status_code in {400, 401, 404}


@pytest.mark.parametrize("body", [b"", b"{}", b'{"grace_hours": 1}', b"null"])
async def test_body_that_may_be_left_out_needs_no_media_type(
    client: httpx.AsyncClient, key: dict[str, str], body: bytes
) -> None:
    headers = key if not body else key | JSON
    prefix = key["X-API-Key"].split("_")[1]
    answer = await client.post(f"/api/admin/keys/{prefix}/rotate", content=body, headers=headers)
    assert answer.status_code == 201, answer.text
