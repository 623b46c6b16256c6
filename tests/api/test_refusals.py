"""Requests without valid credentials: what is made up costs no query, and is limited by address."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from fastapi import Request

from api.app import create_app
from tests.support.aliases import Demo, OpenClient
from tests.support.api import app_state_of, called_from, problem, public_slug
from wishcraft.domain.api_keys import make_key
from wishcraft.domain.rate_limits import Policy
from wishcraft.settings import Settings
from wishcraft.store import api_keys, shops

Signed = Callable[..., str]
LIST = "/api/registries"
LIMIT = 60
pytestmark = pytest.mark.usefixtures("one_window")


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch, module: Any, query: str) -> Iterator[list[str]]:
    """The arguments of the calls of a query of the store."""
    calls, run = list[str](), getattr(module, query)

    async def record(session: Any, argument: str) -> Any:
        calls.append(argument)
        return await run(session, argument)

    with monkeypatch.context() as patch:
        patch.setattr(module, query, record)
        yield calls


def unknown_key() -> dict[str, str]:
    """The headers of a key of the right form, with a right checksum."""
    return {"X-API-Key": make_key(secrets.token_bytes(38)).key}


async def test_a_key_with_a_wrong_checksum_is_refused_without_a_query(
    client: httpx.AsyncClient, key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    valid = key["X-API-Key"]
    wrong = [f"wc_{secrets.token_hex(6)}_{secrets.token_hex(36)}", f"{valid[:-1]}{'1' if valid[-1] == '0' else '0'}"]
    with counted(monkeypatch, api_keys, "find_holder") as calls:
        for each in (*wrong, valid[:-8]):
            assert problem(await client.get(LIST, headers={"X-API-Key": each})) == (401, "unauthorized")
        assert calls == []
        assert (await client.get(LIST, headers=key)).status_code == 200
        assert len(calls) == 1


async def test_made_up_keys_are_limited_by_address_and_then_cost_no_query(
    client: httpx.AsyncClient, key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with called_from(client, "203.0.113.9") as server, called_from(client, "203.0.113.10") as elsewhere:
        with counted(monkeypatch, api_keys, "find_holder") as calls:
            answers = [await server.get(LIST, headers=unknown_key()) for _ in range(LIMIT + 5)]
            assert [answer.status_code for answer in answers] == [401] * LIMIT + [429] * 5
            assert problem(answers[-1]) == (429, "too-many-requests")
            assert 0 < int(answers[-1].headers["retry-after"]) <= LIMIT
            assert len(calls) == LIMIT
        assert (await elsewhere.get(LIST, headers=key)).status_code == 200
        assert (await elsewhere.get(LIST, headers=unknown_key())).status_code == 401


async def test_made_up_keys_do_not_lock_out_a_key_that_was_used_before(
    client: httpx.AsyncClient, key: dict[str, str]
) -> None:
    assert (await client.get(LIST, headers=key)).status_code == 200
    for _ in range(LIMIT + 1):
        answer = await client.get(LIST, headers=unknown_key())
    assert answer.status_code == 429
    keys = app_state_of(client).authenticator._keys
    for name, (_, value) in keys._entries.items():
        keys._entries[name] = (0, value)  # they expire
    assert (await client.get(LIST, headers=key)).status_code == 200


@pytest.mark.parametrize("kind", ["a bad signature", "a bad ID token", "a malformed key"])
async def test_every_refusal_is_limited_by_address(
    client: httpx.AsyncClient, signed: Signed, demo: Demo, kind: str
) -> None:
    def sent(number: int) -> tuple[str, dict[str, str]]:
        forged = signed(n=str(number)).replace("shop=maple", "shop=lumiere")
        headers = {"a bad ID token": {"Authorization": "Bearer x.y.z"}, "a malformed key": {"X-API-Key": "wc_"}}
        return (forged if kind == "a bad signature" else ""), headers.get(kind, {})

    async with called_from(client, "2001:db8::1") as one, called_from(client, "2001:db8::2") as neighbour:
        for number in range(LIMIT + 1):
            query, headers = sent(number)
            answer = await one.get(f"{LIST}?{query}", headers=headers)
            assert answer.status_code == (401 if number < LIMIT else 429)
        query, headers = sent(LIMIT)
        assert (await neighbour.get(f"{LIST}?{query}", headers=headers)).status_code == 429  # the same /64
        visited = await one.get(f"{LIST}/{public_slug(demo)}?{signed()}")
        assert visited.status_code == 200  # valid credentials are not refused


async def test_requests_to_a_shop_without_the_app_do_not_limit_other_shops(
    client: httpx.AsyncClient, signed: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    with counted(monkeypatch, shops, "find_by_domain") as calls:
        for number in range(LIMIT + 5):
            answer = await client.get(f"{LIST}?{signed('nobody.myshopify.com', n=str(number))}")
            assert answer.status_code == (401 if number < LIMIT else 429)
        assert len(calls) == LIMIT
        assert (await client.get(f"{LIST}?{signed()}")).status_code == 200


async def test_refusals_count_by_the_forwarded_address_of_a_trusted_proxy(
    settings: Settings, open_client: OpenClient, demo: Demo
) -> None:
    async with open_client(settings.model_copy(update={"trusted_proxies": "127.0.0.1"})) as client:
        for number in range(LIMIT + 1):
            forwarded = {"X-Forwarded-For": f"6.6.6.{number}, 203.0.113.9"}
            answer = await client.get(LIST, headers=unknown_key() | forwarded)
        assert answer.status_code == 429
        assert (await client.get(LIST, headers=unknown_key() | {"X-Forwarded-For": "203.0.113.10"})).status_code == 401
        for _ in range(LIMIT + 1):
            assert (await client.get(LIST)).status_code == 401  # without credentials nothing is verified


async def test_write_without_valid_credentials_is_refused_before_its_body_is_read(
    client: httpx.AsyncClient, settings: Settings, key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """FastAPI parses a body before it calls the dependencies."""
    read, parse = list[str](), Request.body

    async def record(request: Request) -> bytes:
        read.append(request.url.path)
        return await parse(request)

    monkeypatch.setattr(Request, "body", record)
    operations = [
        (method, path.format(ref="a", item_id=1, prefix="000000000000", token="t"))
        for path, item in create_app(settings).openapi()["paths"].items()
        for method, operation in item.items()
        if "requestBody" in operation and "security" in operation
    ]
    assert len(operations) >= 8
    for method, path in operations:
        for content_type in ("application/json", "text/plain"):
            headers = {"Content-Type": content_type}
            for credentials in ({}, {"X-API-Key": "wc_"}):
                answer = await client.request(method, path, content=b"{broken", headers=headers | credentials)
                assert problem(answer) == (401, "unauthorized"), (method, path)
        assert read == []
    await client.post(LIST, content=b"{broken", headers=key)
    assert read == [LIST]


async def test_write_counts_once_for_the_limit_of_its_caller(
    client: httpx.AsyncClient, key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted_callers = list[str]()
    limiter = app_state_of(client).resources.limiter
    count = limiter.count

    def record(policy: Policy, caller: str) -> tuple[int, int]:
        counted_callers.append(caller)
        return count(policy, caller)

    monkeypatch.setattr(limiter, "count", record)
    assert (await client.post(LIST, json={}, headers=key)).status_code == 422
    assert len(counted_callers) == 1


@pytest.mark.parametrize(
    ("headers", "step"),
    [
        ({}, "Send an API key in X-API-Key"),
        ({"X-API-Key": "wc_"}, "Send another one in X-API-Key"),
        ({"Authorization": "Bearer x.y.z"}, "Send a new one, as App Bridge issues it"),
        ({"Authorization": f"Bearer {make_key(bytes(38)).key}"}, "Send it in X-API-Key"),
    ],
)
async def test_answer_401_says_what_to_send(client: httpx.AsyncClient, headers: dict[str, str], step: str) -> None:
    answer = await client.get(LIST, headers=headers)
    assert problem(answer) == (401, "unauthorized")
    assert step in answer.json()["detail"]
    is_token = headers.get("Authorization") == "Bearer x.y.z"
    assert ("X-Shopify-Retry-Invalid-Session-Request" in answer.headers) is is_token


async def test_answer_to_a_query_that_is_not_signed_says_where_to_send_it(
    client: httpx.AsyncClient, signed: Signed
) -> None:
    forged = signed().replace("shop=maple", "shop=lumiere")
    for path in (LIST, f"{LIST}/none"):
        answer = await client.get(f"{path}?{forged}")
        assert problem(answer) == (401, "unauthorized")
        assert "Send the request to the shop's domain again" in answer.json()["detail"]
