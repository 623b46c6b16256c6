"""Guessing access codes: guessers are slowed down, and cannot close a registry to its guests."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import httpx
import pytest
from argon2 import PasswordHasher

from deployments.sandbox.demo_rows import ACCESS_CODE
from tests.support.aliases import Demo, OpenClient
from tests.support.api import Shopper, app_state_of, called_from, problem
from tests.support.prefect_calls import wait_for
from tests.support.valkey import OwnValkey
from wishcraft.cache import rate_limiter
from wishcraft.domain.access_codes import WRONG_CODES
from wishcraft.services.registries import code_hashes, code_tries
from wishcraft.services.registries.code_hashes import MAX_HASHES, MAX_OF_SENDER
from wishcraft.services.registries.code_tries import SERVER_TRIES, name_for_tries
from wishcraft.settings import Settings

Signed = Callable[..., str]
PATH = "/api/registries"
WEAK = {
    "too short": "k7w2m9q", "repeated": "abcdabcd", "a sequence": "12345678", "the title": "emma & hugo's wedding",
    "a common word": "wedding2027", "the date": "12.06.2027",
}  # fmt: skip


@pytest.fixture(autouse=True)
def in_the_middle_of_all_windows(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A limiter whose clock is stopped, so that no window ends during a test."""
    now = (time.time() // 1200 + 1) * 1200 + 300
    monkeypatch.setattr(rate_limiter, "time", SimpleNamespace(time=lambda: now))
    return iter([None])


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses before tries, in seconds; they take no time."""
    made = list[float]()

    async def record(seconds: float) -> None:
        made.append(seconds)

    monkeypatch.setattr(code_tries, "sleep", record)
    return made


@pytest.fixture
async def slug(emma: Shopper) -> str:
    """A registry of Emma's that opens with the access code."""
    return await emma.create(visibility="password", access_code=ACCESS_CODE)


async def unlock(
    client: httpx.AsyncClient, slug: str, query: str, code: str = ACCESS_CODE, **headers: str
) -> httpx.Response:
    """Unlock with the access code, through the app proxy or, with an empty query, with the headers' key."""
    return await client.post(f"{PATH}/{slug}/unlock?{query}", json={"access_code": code}, headers=headers)


def have_wrong_codes(client: httpx.AsyncClient, slug: str) -> None:
    """Let so many wrong codes have been sent for the registry that more make no difference."""
    for _ in range(2 * WRONG_CODES.quota):
        app_state_of(client).resources.limiter.take(WRONG_CODES, name_for_tries(1, slug))


def behind(address: str) -> dict[str, str]:
    """The header of a trusted proxy's request for this address."""
    return {"X-Forwarded-For": address}


async def test_ten_tries_from_an_address_limit_no_other_address(
    settings: Settings, open_client: OpenClient, signed: Signed, slug: str
) -> None:
    async with open_client(settings.model_copy(update={"trusted_proxies": "127.0.0.1"})) as client:
        for number in range(10):  # right ones included
            query, code = signed(n=str(number)), ACCESS_CODE if number == 3 else f"guess {number}"
            answer = await unlock(client, slug, query, code, **behind(f"{number}.6.6.6, 203.0.113.9"))
            assert answer.status_code == (200 if number == 3 else 403)
        for number, code in enumerate(("guess 11", ACCESS_CODE)):
            answer = await unlock(client, slug, signed(m=str(number)), code, **behind("203.0.113.9"))
            assert problem(answer) == (429, "too-many-tries")
            assert 0 < int(answer.headers["retry-after"]) <= 600
        assert (await unlock(client, slug, signed(m="2"), **behind("203.0.113.10"))).status_code == 200


async def test_tries_at_one_registry_leave_the_others_open(
    client: httpx.AsyncClient, signed: Signed, emma: Shopper, slug: str
) -> None:
    for number in range(11):
        answer = await unlock(client, slug, signed(n=str(number)), "wrong")
    assert problem(answer) == (429, "too-many-tries")
    other = await emma.create(visibility="password", access_code=ACCESS_CODE)
    assert (await unlock(client, other, signed())).status_code == 200


@pytest.mark.parametrize("trusted", ["", "127.0.0.1", "shopify", "127.0.0.1 shopify"])
async def test_a_replayed_query_has_ten_tries_from_all_made_up_addresses(
    settings: Settings, open_client: OpenClient, signed: Signed, slug: str, trusted: str
) -> None:
    async with open_client(settings.model_copy(update={"trusted_proxies": trusted})) as client:
        query = signed(a="1", b="2")
        signature = query.rpartition("&")[2]
        again = [query, f"{signature}&{query.removesuffix(f'&{signature}')}", query.replace("a=1", "%61=1")]
        answers = [
            await unlock(client, slug, again[number % 3], "wrong", **behind(f"203.0.113.{number}, 198.51.100.{number}"))
            for number in range(12)
        ]
        assert [answer.status_code for answer in answers] == [403] * 10 + [429] * 2


async def test_made_up_addresses_count_as_the_sender_who_is_no_trusted_proxy(
    client: httpx.AsyncClient, signed: Signed, slug: str
) -> None:
    async with called_from(client, "203.0.113.9") as sender:
        answers = [
            await unlock(sender, slug, signed(n=str(number)), "wrong", **behind(f"198.51.100.{number}"))
            for number in range(12)
        ]
    assert [answer.status_code for answer in answers] == [403] * 10 + [429] * 2


async def test_the_addresses_of_an_ipv6_network_have_ten_tries_together(
    client: httpx.AsyncClient, signed: Signed, slug: str
) -> None:
    answers = []
    for number in range(11):
        async with called_from(client, f"2001:db8::{number}:1") as sender:
            answers.append(await unlock(sender, slug, signed(n=str(number)), "wrong"))
    assert [answer.status_code for answer in answers] == [403] * 10 + [429]
    async with called_from(client, "2001:db8:0:1::1") as neighbour:
        assert (await unlock(neighbour, slug, signed(n="x"))).status_code == 200


async def test_after_many_wrong_codes_only_who_sends_one_waits(
    client: httpx.AsyncClient, signed: Signed, slug: str, key: dict[str, str], pauses: list[float]
) -> None:
    assert (await unlock(client, slug, signed(n="before"))).status_code == 200
    assert pauses == []
    have_wrong_codes(client, slug)
    for number in range(3):
        async with called_from(client, f"203.0.113.{number}") as guest:
            for again in range(2):
                assert (await unlock(guest, slug, signed(n=f"{number}{again}"))).status_code == 200
    async with called_from(client, "203.0.113.9") as guesser:
        assert problem(await unlock(guesser, slug, signed(n="a"), "wrong")) == (403, "wrong-access-code")
        for code in ("wrong", ACCESS_CODE):
            answer = await unlock(guesser, slug, signed(n="b"), code)
            assert problem(answer) == (429, "too-many-tries")
            assert 0 < int(answer.headers["retry-after"]) <= 240
    assert pauses == [3.2] * 7  # before each of them that was not refused
    for code, status in (("wrong", 403), ("wrong", 403), (ACCESS_CODE, 200)):
        assert (await unlock(client, slug, "", code, **key)).status_code == status
    assert len(pauses) == 7


async def test_wrong_codes_sent_at_once_wait_for_each_other(
    client: httpx.AsyncClient, signed: Signed, slug: str
) -> None:
    have_wrong_codes(client, slug)
    answers = await asyncio.gather(*(unlock(client, slug, signed(n=str(number)), "wrong") for number in range(8)))
    assert sorted(answer.status_code for answer in answers) == [403] + [429] * 7
    async with called_from(client, "203.0.113.9") as guest:
        answers = await asyncio.gather(*(unlock(guest, slug, signed(m=str(number))) for number in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert not code_tries._locks


async def test_a_code_for_a_registry_of_another_customer_is_not_hashed(
    emma: Shopper, hugo: Shopper, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(code_hashes._under_way, "", MAX_HASHES)
    new = {"access_code": "tulip-canoe-pearl"}
    assert (await hugo.send("PATCH", f"{PATH}/{slug}", new, if_match="*")).status_code == 403
    assert (await hugo.send("PATCH", f"{PATH}/no-such-registry", new, if_match="*")).status_code == 404
    assert (await emma.send("PATCH", f"{PATH}/{slug}", new, if_match="*")).status_code == 429


async def test_tries_that_pause_are_few_and_keep_no_guest_out(
    client: httpx.AsyncClient, signed: Signed, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    have_wrong_codes(client, slug)
    others = {object() for _ in range(code_tries.MAX_PAUSED - 2)}
    code_tries._paused.update(others)
    released = asyncio.Event()

    async def wait(_: float) -> None:
        await released.wait()

    monkeypatch.setattr(code_tries, "sleep", wait)
    async with (
        called_from(client, "203.0.113.7") as one,
        called_from(client, "203.0.113.8") as two,
        called_from(client, "203.0.113.9") as guest,
    ):
        paused = [
            asyncio.create_task(unlock(sender, slug, signed(n=str(number)), "wrong"))
            for number, sender in enumerate((one, two))
        ]
        await wait_for(lambda: len(code_tries._paused) == code_tries.MAX_PAUSED)
        assert (await unlock(guest, slug, signed(n="guest"))).status_code == 200
        released.set()
        assert {(await each).status_code for each in paused} == {403}
    assert code_tries._paused == others
    code_tries._paused.clear()


async def test_few_wrong_codes_make_no_guest_wait(client: httpx.AsyncClient, signed: Signed, slug: str) -> None:
    for number, code in enumerate(("wrong", "wrong", ACCESS_CODE)):
        answer = await unlock(client, slug, signed(n=str(number)), code)
    assert answer.status_code == 200


async def test_wrong_codes_are_counted_for_the_registry_and_right_ones_are_not(
    client: httpx.AsyncClient, signed: Signed, slug: str
) -> None:
    for number, code in enumerate(("wrong", ACCESS_CODE, "wrong")):
        await unlock(client, slug, signed(n=str(number)), code)
    verdict = app_state_of(client).resources.limiter.peek(WRONG_CODES, name_for_tries(1, slug))
    assert WRONG_CODES.quota - verdict.remaining == 2


async def test_the_tries_at_all_processes_count_together(
    client: httpx.AsyncClient, settings: Settings, open_client: OpenClient, signed: Signed, slug: str
) -> None:
    async with open_client(settings.model_copy(update={"log_level": "WARNING"})) as other:
        answers = [
            await unlock((client, other)[number % 2], slug, signed(n=str(number)), "wrong") for number in range(12)
        ]
    assert [answer.status_code for answer in answers] == [403] * 10 + [429] * 2


async def test_tries_are_limited_while_redis_does_not_answer(
    client_on_own_valkey: httpx.AsyncClient, signed: Signed, own_valkey: OwnValkey
) -> None:
    slug = await Shopper(client_on_own_valkey, signed, 7_100_000_000_001).create(
        visibility="password", access_code=ACCESS_CODE
    )
    own_valkey.kill()
    answers = [await unlock(client_on_own_valkey, slug, signed(n=str(number)), "wrong") for number in range(11)]
    assert [answer.status_code for answer in answers] == [403] * 10 + [429]


async def test_a_server_has_a_hundred_tries(
    client: httpx.AsyncClient, signed: Signed, slug: str, key: dict[str, str]
) -> None:
    limiter, prefix = app_state_of(client).resources.limiter, key["X-API-Key"].split("_")[1]
    for _ in range(SERVER_TRIES.quota - 1):
        limiter.take(SERVER_TRIES, f"{name_for_tries(1, slug)}:key:{prefix}")
    assert (await unlock(client, slug, "", **key)).status_code == 200
    assert problem(await unlock(client, slug, "", **key)) == (429, "too-many-tries")
    assert (await unlock(client, slug, signed())).status_code == 200


async def test_a_flood_of_tries_waits_neither_in_memory_nor_in_front_of_others(
    client: httpx.AsyncClient, signed: Signed, emma: Shopper, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(code_hashes, "_matches", lambda code, _: released.wait(60) and code == ACCESS_CODE)
    waiting = [asyncio.create_task(unlock(client, slug, signed(n=str(number)), "wrong")) for number in range(3)]
    await wait_for(lambda: code_hashes._under_way[""] == 3)
    more = dict.fromkeys(code_hashes._under_way, MAX_OF_SENDER - 3) | {"": MAX_HASHES - 4}
    code_hashes._under_way.update(more)  # as many of the sender's as it may have, and all but one
    for number in range(12):  # none of them counts as a try
        refused = await unlock(client, slug, signed(n=f"x{number}"))
        assert problem(refused) == (429, "too-many-tries")
        assert refused.headers["retry-after"] == "2"
    async with called_from(client, "203.0.113.9") as guest:
        elsewhere = asyncio.create_task(unlock(guest, slug, signed(n="o")))
        await wait_for(lambda: code_hashes._under_way[""] == MAX_HASHES)
        new_code = await emma.send("PATCH", f"{PATH}/{slug}", {"access_code": "tulip-canoe-pearl"}, if_match="*")
        assert new_code.status_code == 429
        code_hashes._under_way.subtract(more)
        released.set()
        assert {(await each).status_code for each in waiting} == {403}
        assert (await elsewhere).status_code == 200
    assert (await unlock(client, slug, signed(n="y"))).status_code == 200
    assert not code_hashes._under_way


async def test_a_flood_at_one_registry_leaves_the_others_open(
    client: httpx.AsyncClient, signed: Signed, emma: Shopper, slug: str
) -> None:
    other = await emma.create(visibility="password", access_code=ACCESS_CODE)
    code_hashes._under_way.update({name_for_tries(1, slug): code_hashes.MAX_OF_REGISTRY})
    assert problem(await unlock(client, slug, signed(n="b"))) == (429, "too-many-tries")
    assert (await unlock(client, other, signed(n="c"))).status_code == 200
    code_hashes._under_way.clear()


@pytest.mark.parametrize("code", WEAK.values(), ids=WEAK)
async def test_a_new_access_code_that_is_easy_to_guess_is_refused(emma: Shopper, slug: str, code: str) -> None:
    new = {"visibility": "password", "access_code": code}
    for answer in (
        await emma.send("PATCH", f"{PATH}/{slug}", new, if_match="*"),
        await emma.send("PATCH", f"{PATH}/{slug}", {"access_code": code, "event_type": "wedding"}, if_match="*"),
    ):
        assert problem(answer) == (422, "invalid-request")
        assert "8 or more characters" in answer.text or "three words" in answer.text
    with pytest.raises(AssertionError, match="invalid-request"):
        await emma.create(**new)


async def test_the_title_that_comes_with_an_access_code_counts(emma: Shopper, slug: str) -> None:
    changed = {"title": "Tulips for Emma", "access_code": "tulips for emma"}
    refused = await emma.send("PATCH", f"{PATH}/{slug}", changed, if_match="*")
    assert problem(refused) == (422, "invalid-request")
    own_address = await emma.send("PATCH", f"{PATH}/{slug}", {"access_code": slug}, if_match="*")
    assert problem(own_address) == (422, "invalid-request")


def test_a_guess_costs_what_owasp_asks_for(product_hasher: PasswordHasher) -> None:
    assert product_hasher.hash(ACCESS_CODE).startswith("$argon2id$v=19$m=19456,t=2,p=1$")


@pytest.mark.parametrize("code", ["abcd", "tulip-canoe-amber ", "cre\u0302pe-tulipe"])
async def test_an_access_code_of_an_earlier_release_still_opens(
    client: httpx.AsyncClient, signed: Signed, slug: str, demo: Demo, code: str
) -> None:
    stored = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1).hash(code)
    demo.execute("UPDATE registries SET access_code_hash = %s WHERE slug = %s", [stored, slug])
    assert (await unlock(client, slug, signed(), code)).status_code == 200


async def test_a_signed_query_may_read_for_five_minutes_and_change_for_90_seconds(
    client: httpx.AsyncClient, signed: Signed, emma: Shopper, slug: str
) -> None:
    public = await emma.create()
    for seconds, read, change in ((-60, 401, 401), (60, 200, 200), (120, 200, 401), (270, 200, 401), (330, 401, 401)):
        query = signed(at=time.time() - seconds)
        for method in ("GET", "HEAD"):
            answer = await client.request(method, f"{PATH}/{public}?{query}")
            assert answer.status_code == read, (method, seconds)
        assert (await unlock(client, slug, query)).status_code == change, seconds
        assert (await client.get(f"{PATH}/{public}?{query}")).status_code == read  # on the fast path
