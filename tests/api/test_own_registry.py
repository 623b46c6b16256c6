"""An own registry, as its registrant reads it, with the fields that guests do not get."""

import asyncio
from collections.abc import Callable
from math import inf
from typing import Any, Final

import httpx
import pytest

from api.schemas.requests import ChangedItem, ChangedRegistry
from api.schemas.responses import OwnRegistryAnswer, OwnRegistryList, RegistryAnswer
from tests.support.aliases import Demo
from tests.support.api import WAYS, WEDDING, Shopper, app_state_of
from tests.support.waiting import wait_until
from wishcraft.cache.read_permit import Trust
from wishcraft.errors import DatabaseUnavailable
from wishcraft.store import private_fields

PATH: Final = "/api/registries"
PRIVATE: Final = ("orangery", "example.com", "reed", "laurent", "has_access_code", "invited", "event_location")
"""Private values, which must not be in an answer to a guest."""


@pytest.fixture(autouse=True)
def variant_id(demo: Demo) -> int:
    """A variant of the shop, whose registries are deleted."""
    found = demo.execute("SELECT variant_id FROM registry_items WHERE shop_id = 1 AND available").fetchone()
    assert found
    demo.execute("DELETE FROM registries")
    return int(found[0])


async def test_registrant_reads_every_field_that_a_change_sets(emma: Shopper, variant_id: int) -> None:
    slug = await emma.create(visibility="password", access_code="tulip-canoe-amber")
    await emma.send("POST", f"{PATH}/{slug}/items", {"variant_id": variant_id})
    read = (await emma.read(slug)).json()
    own = OwnRegistryAnswer.model_validate(read)
    assert own.has_access_code
    assert {person.status for person in (own.registrant, *own.co_registrants)} == {"invited"}
    named = {"event_type": "type", "event_date": "date"}
    assert set(ChangedRegistry.model_fields) - {*named, "access_code"} <= read.keys()
    assert set(named.values()) <= read["event"].keys()
    fields = {name: "wanted" if name == "quantity" else name for name in ChangedItem.model_fields}
    assert set(fields.values()) <= read["items"][0].keys()
    # A form that sends back what it was filled with changes nothing.
    people = [{name: person[name] for name in ("first_name", "last_name", "email")}
              for person in (read["registrant"], *read["co_registrants"])]  # fmt: skip
    form = {
        **{name: read[name] for name in ("title", "description", "event_location", "visibility", "status")},
        **{name: read["event"][key] for name, key in named.items()},
        "registrant": people[0],
        "co_registrants": people[1:],
    }
    assert form.items() >= WEDDING.items()
    saved = await emma.send("PATCH", f"{PATH}/{slug}", form, if_match=(await emma.read(slug)).headers["etag"])
    assert (saved.status_code, saved.json()) == (200, read)


async def test_private_fields_are_the_registrants_alone(
    client: httpx.AsyncClient, signed: Callable[..., str], key: dict[str, str],
    token: Callable[..., dict[str, str]], emma: Shopper, hugo: Shopper, guest: Shopper,
) -> None:  # fmt: skip
    slug = await emma.create()
    foreign = Shopper(client, signed, emma.customer_id, "sakura-living.myshopify.com")
    for way in WAYS:
        for reader in (guest, hugo):
            answer = await reader.read(slug, **way)
            assert RegistryAnswer.model_validate_json(answer.content)
            assert not [word for word in PRIVATE if word in answer.text.lower().replace(slug, "")], answer.text
        guests_copy = {"If-None-Match": answer.headers["etag"], **way}
        own = await emma.read(slug, **guests_copy)
        assert OwnRegistryAnswer.model_validate_json(own.content)
        assert answer.headers["cache-control"] == "private, no-cache"
        assert own.headers["cache-control"] == "private, no-cache, no-transform"
        assert (await foreign.read(slug, **way)).status_code == 404
        for headers in (key, token()):
            assert (await client.get(f"{PATH}/{slug}", headers=headers | way)).json() == answer.json()
            named = {**headers, **way, "X-Customer-Id": str(emma.customer_id)}
            assert (await client.get(f"{PATH}/{slug}", headers=named)).json() == own.json()
    for path in (PATH, f"{PATH}?q=emma", f"{PATH}/{slug}/items"):
        for reader in (guest, hugo, emma):
            shown = (await reader.send("GET", path)).text.lower().replace(slug, "")  # it ends in random letters
            assert not [word for word in PRIVATE if word in shown]


async def test_own_answer_has_its_own_strong_etag(emma: Shopper, guest: Shopper) -> None:
    slug = await emma.create()
    own, seen = await emma.read(slug), await guest.read(slug)
    assert own.headers["etag"] != seen.headers["etag"]
    assert own.headers["etag"].partition("-")[0] == seen.headers["etag"].partition("-")[0]
    assert (await emma.read(slug, if_none_match=own.headers["etag"])).status_code == 304
    assert (await emma.read(slug, if_none_match=seen.headers["etag"])).status_code == 200
    assert (await guest.read(slug, if_none_match=own.headers["etag"])).status_code == 200


async def test_own_answer_follows_an_invitation_that_is_answered(emma: Shopper, demo: Demo) -> None:
    slug = await emma.create()
    before = await emma.read(slug)
    demo.execute("UPDATE invitations SET answer = 'confirmed', expires_at = NULL WHERE recipient LIKE 'hugo.%'")
    after = await emma.read(slug, if_none_match=before.headers["etag"])
    assert after.status_code == 200
    assert [person["status"] for person in after.json()["co_registrants"]] == ["confirmed"]


async def test_own_answer_is_never_put_into_redis(emma: Shopper, guest: Shopper) -> None:
    slug = await emma.create()
    for reader in (emma, emma, guest):
        answer = await reader.read(slug)
        assert answer.headers["x-cache"] == "hit"
    assert "event_location" not in answer.json()


async def test_registrant_gets_the_guests_answer_while_postgresql_is_silent(
    emma: Shopper, guest: Shopper, monkeypatch: pytest.MonkeyPatch
) -> None:
    slug = await emma.create()
    seen = (await guest.read(slug)).json()
    answers = asyncio.Event()

    async def hang(*_: object) -> None:
        await answers.wait()

    with monkeypatch.context() as patch:
        patch.setattr("wishcraft.services.registries.reader.DATABASE_READ_SECONDS", 0.1)
        patch.setattr("wishcraft.services.registries.own_view._find", hang)
        own = await emma.read(slug)
    answers.set()
    assert (own.status_code, own.json()) == (200, seen)
    assert "event_location" in (await emma.read(slug)).json()


async def test_registrant_does_not_wait_for_a_postgresql_that_is_known_to_be_silent(
    client: httpx.AsyncClient, emma: Shopper, guest: Shopper, monkeypatch: pytest.MonkeyPatch
) -> None:
    slug = await emma.create()
    seen, permit = (await guest.read(slug)).json(), app_state_of(client).permit
    asked = []

    async def fail() -> None:
        raise DatabaseUnavailable("PostgreSQL did not answer within 2 s")

    def find(*arguments: object) -> None:
        asked.append(arguments)

    def is_silent() -> bool:
        permit._asked_at = -inf
        return permit.trust(1, slug) is Trust.SILENT

    with monkeypatch.context() as patch:
        patch.setattr(permit, "_find_pending", fail)
        await wait_until(is_silent)
        patch.setattr(private_fields, "find", find)
        own = await emma.read(slug)
    assert (own.status_code, own.json(), own.headers["x-cache"]) == (200, seen, "stale")
    assert asked == []


async def test_form_cannot_overwrite_a_change_newer_than_its_fields(
    emma: Shopper, monkeypatch: pytest.MonkeyPatch
) -> None:
    slug = await emma.create()
    read = private_fields.read

    def read_older(rows: Any) -> Any:
        found = read(rows)
        return found and found._replace(version=found.version - 1)

    with monkeypatch.context() as patch:
        patch.setattr(private_fields, "read", read_older)
        etag = (await emma.read(slug)).headers["etag"]
    answer = await emma.send("PATCH", f"{PATH}/{slug}", {"event_location": "At home"}, if_match=etag)
    assert answer.status_code == 412


async def test_own_list_has_what_the_own_answer_has(emma: Shopper) -> None:
    slug = await emma.create()
    own = (await emma.read(slug)).json()
    answer = await emma.send("GET", "/api/my-registries")
    OwnRegistryList.model_validate_json(answer.content)
    [listed] = answer.json()["registries"]
    assert listed.pop("image") is None
    assert listed.items() <= own.items()
