import asyncio
import json
import re
from collections.abc import AsyncIterator
from types import SimpleNamespace

import httpx
import pytest

from api.schemas.responses import OwnRegistryAnswer
from deployments.sandbox.demo import add_key
from tests.support.aliases import Demo
from tests.support.api import WEDDING, Shopper, problem
from wishcraft.services.registries import lifecycle

PATH = "/api/registries"


def copy(demo: Demo, slug: str, number: int, status: str) -> None:
    """Give the registrant so many more registries of this status: `slug`-`status`-1 and so on."""
    demo.execute(
        """INSERT INTO registries (shop_id, slug, title, event_type, visibility, customer_id, customer_email,
                                   customer_first_name, customer_last_name, status)
           SELECT shop_id, concat_ws('-', slug, %(status)s::text, n), title, event_type, visibility, customer_id,
                  customer_email, customer_first_name, customer_last_name, %(status)s
           FROM registries, generate_series(1, %(number)s) n WHERE slug = %(slug)s""",
        {"slug": slug, "number": number, "status": status},
    )


def count(demo: Demo, customer_id: int | None) -> int:
    """How many registries the customer has."""
    found = demo.execute("SELECT count(*) FROM registries WHERE customer_id = %s", [customer_id]).fetchone()
    assert found
    return int(found[0])


async def test_customer_creates_a_registry_and_receives_it(emma: Shopper, demo: Demo) -> None:
    answer = await emma.send("POST", PATH, WEDDING, user_agent="a browser")
    assert answer.status_code == 201
    shown = OwnRegistryAnswer.model_validate_json(answer.content)
    assert (shown.title, shown.registrants, shown.items) == ("Emma & Hugo's Wedding", ["Emma", "Hugo"], [])
    assert (shown.status, shown.visibility, shown.currency) == ("active", "public", "USD")
    assert answer.headers["location"] == f"{PATH}/{shown.slug}"
    assert answer.headers["etag"].startswith('"1-')
    row = demo.execute(
        """SELECT shop_id, customer_id, customer_first_name, customer_last_name, customer_email, event_location,
                  co_registrants FROM registries WHERE slug = %s""",
        [shown.slug],
    ).fetchone()
    assert row == (1, emma.customer_id, "Emma", "Reed", "emma.reed@example.com", "The Orangery",
                   WEDDING["co_registrants"])  # fmt: skip
    assert (await emma.read(shown.slug)).content == answer.content


async def test_audit_log_records_who_created_a_registry_and_from_where(emma: Shopper, demo: Demo) -> None:
    slug = (await emma.send("POST", PATH, WEDDING, user_agent="a browser")).json()["slug"]
    row = demo.execute(
        """SELECT a.shop_id, a.actor, a.action, a.resource, host(a.ip), a.user_agent FROM audit_logs a
           JOIN registries r ON r.id::text = a.resource_id WHERE r.slug = %s AND a.resource = 'registry'""",
        [slug],
    ).fetchall()
    assert row == [(1, f"customer:1:{emma.customer_id}", "registry.created", "registry", "127.0.0.1", "a browser")]


async def test_server_creates_a_registry_for_the_named_customer(
    client: httpx.AsyncClient, key: dict[str, str], demo: Demo
) -> None:
    answer = await client.post(PATH, json=WEDDING, headers={**key, "X-Customer-Id": "4711"})
    assert answer.status_code == 201
    owner = demo.execute("SELECT shop_id, customer_id FROM registries WHERE slug = %s", [answer.json()["slug"]])
    assert owner.fetchone() == (1, 4711)


async def test_logged_in_customer_cannot_act_for_another(emma: Shopper, demo: Demo) -> None:
    answer = await emma.send("POST", PATH, WEDDING, x_customer_id="4711")
    assert answer.status_code == 201
    assert (count(demo, 4711), count(demo, emma.customer_id)) == (0, 1)


async def test_caller_without_a_customer_cannot_create_a_registry(
    client: httpx.AsyncClient, key: dict[str, str], guest: Shopper, demo: Demo
) -> None:
    before = demo.execute("SELECT count(*) FROM registries").fetchone()
    assert problem(await guest.send("POST", PATH, WEDDING)) == (403, "not-allowed")
    assert problem(await guest.send("POST", PATH, WEDDING, x_customer_id="4711")) == (403, "not-allowed")
    assert problem(await client.post(PATH, json=WEDDING, headers=key)) == (403, "not-allowed")
    assert problem(await client.post(PATH, json=WEDDING)) == (401, "unauthorized")
    demo.execute("UPDATE api_keys SET scopes = '{read}'")
    reading = {"X-API-Key": add_key(demo, 1).key}
    demo.execute("UPDATE api_keys SET scopes = '{read}'")
    answer = await client.post(PATH, json=WEDDING, headers={**reading, "X-Customer-Id": "4711"})
    assert problem(answer) == (403, "not-allowed")
    assert demo.execute("SELECT count(*) FROM registries").fetchone() == before


PERSON = WEDDING["registrant"]
REFUSED = {
    "a field that is not in the schema": {"slug": "mine"},
    "a control character": {"title": "Emma\x00Hugo"},
    "a control character in a name": {"registrant": PERSON | {"first_name": "E\x1bmma"}},
    "no title": {"title": ""},
    "a title of spaces": {"title": "  "},
    "a name of spaces": {"registrant": PERSON | {"last_name": " \n"}},
    "a title that is too long": {"title": "x" * 121},
    "a description that is too long": {"description": "x" * 2001},
    "an address that is none": {"registrant": PERSON | {"email": "emma at home"}},
    "too many with her": {"co_registrants": [PERSON] * 5},
    "an event of no kind": {"event_type": "party"},
    "a day that is none": {"event_date": "2027-02-30"},
    "a password without a code": {"visibility": "password"},
    "a code that is too short": {"visibility": "password", "access_code": "abc"},
    "half a character": {"title": "\ud83d"},
    "half a character as a name": {"\ud83d": 1},
}


async def test_invalid_registry_is_refused_with_a_reason(emma: Shopper, demo: Demo) -> None:
    for what, values in REFUSED.items():
        answer = await emma.send("POST", PATH, WEDDING | values)
        assert problem(answer) == (422, "invalid-request"), what
        assert answer.json()["detail"], what
    assert count(demo, emma.customer_id) == 0


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"null", b"\xff\xfe", b"[" * 20_000])
async def test_unreadable_body_is_answered_with_a_problem(emma: Shopper, body: bytes) -> None:
    answer = await emma.send("POST", PATH, body)
    assert problem(answer)[0] in {400, 422}


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
async def test_body_of_another_media_type_is_refused_with_the_right_one(emma: Shopper, media_type: str) -> None:
    for body in (json.dumps(WEDDING).encode(), b"title=Wedding", b""):
        answer = await emma.send("POST", PATH, body, content_type=media_type)
        assert problem(answer) == (415, "unsupported-media-type")
        assert "Content-Type: application/json" in answer.json()["detail"]


async def test_event_is_changed_by_the_names_of_answers_or_of_creation(emma: Shopper) -> None:
    slug = await emma.create()
    for body, event in (
        ({"event": {"date": "2027-06-19"}}, {"type": "wedding", "date": "2027-06-19"}),
        ({"event": {"type": "baby"}}, {"type": "baby", "date": "2027-06-19"}),
        ({"event": {"date": None}, "event_type": "birthday"}, {"type": "birthday", "date": None}),
        ({"event_date": "2027-01-02"}, {"type": "birthday", "date": "2027-01-02"}),
        ({"event": {}}, {"type": "birthday", "date": "2027-01-02"}),
    ):
        answer = await emma.send("PATCH", f"{PATH}/{slug}", body, if_match="*")
        assert (answer.status_code, answer.json()["event"]) == (200, event), answer.text
    for refused in (
        {"event": {"type": "baby"}, "event_type": "baby"}, {"event": None}, {"event": {"kind": "baby"}},
        {"event": {"type": None}},
    ):  # fmt: skip
        assert problem(await emma.send("PATCH", f"{PATH}/{slug}", refused, if_match="*")) == (422, "invalid-request")
    assert (await emma.read(slug)).json()["event"] == event


async def test_people_can_be_sent_back_as_they_were_read(emma: Shopper) -> None:
    slug = await emma.create()
    read = (await emma.read(slug)).json()
    people = {name: read[name] for name in ("registrant", "co_registrants")}
    changed = await emma.send("PATCH", f"{PATH}/{slug}", people, if_match="*")
    assert changed.status_code == 200
    assert {name: changed.json()[name] for name in people} == people


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "application/merge-patch+json"])
async def test_json_of_any_application_type_is_read(emma: Shopper, media_type: str) -> None:
    assert (await emma.send("POST", PATH, WEDDING, content_type=media_type)).status_code == 201
    refused = await emma.send("POST", PATH, WEDDING | {"title": 5}, content_type=media_type)
    assert problem(refused) == (422, "invalid-request")


async def test_too_large_body_is_refused_with_and_without_content_length(emma: Shopper) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(70):
            yield b" " * 1024

    assert problem(await emma.send("POST", PATH, b" " * 70_000)) == (413, "content-too-large")
    assert problem(await emma.send("POST", PATH, chunks())) == (413, "content-too-large")


async def test_only_the_hash_of_an_access_code_is_stored(emma: Shopper, demo: Demo) -> None:
    slug = await emma.create(visibility="password", access_code="very-secret")
    stored = demo.execute("SELECT to_jsonb(r)::text FROM registries r WHERE slug = %s", [slug]).fetchone()
    assert stored
    assert "$argon2id$" in stored[0]
    assert "very-secret" not in stored[0]
    assert "very-secret" not in str(demo.execute("SELECT to_jsonb(a)::text FROM audit_logs a").fetchall())


async def test_shop_without_password_protection_refuses_access_codes(emma: Shopper, demo: Demo) -> None:
    slug = await emma.create()
    demo.execute("""UPDATE shops SET settings = settings || '{"password_protection": false}' WHERE id = 1""")
    for visibility in ("password", "public"):
        protected = {"visibility": visibility, "access_code": "very-secret"}
        assert problem(await emma.send("POST", PATH, WEDDING | protected)) == (422, "invalid-request")
        assert problem(await emma.send("PATCH", f"{PATH}/{slug}", protected, if_match="*")) == (422, "invalid-request")


async def test_form_of_a_protected_registry_is_saved_though_protection_was_switched_off(
    emma: Shopper, demo: Demo
) -> None:
    slug = await emma.create(visibility="password", access_code="very-secret")
    demo.execute("""UPDATE shops SET settings = settings || '{"password_protection": false}' WHERE id = 1""")
    same = {"title": "New", "visibility": "password"}
    assert (await emma.send("PATCH", f"{PATH}/{slug}", same, if_match="*")).status_code == 200


async def test_customer_is_limited_to_fifty_registries(emma: Shopper, hugo: Shopper, demo: Demo) -> None:
    copy(demo, await emma.create(), 48, "paused")
    answers = await asyncio.gather(*(emma.send("POST", PATH, WEDDING) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
    assert problem(await emma.send("POST", PATH, WEDDING)) == (409, "limit-reached")
    assert count(demo, emma.customer_id) == 50
    assert await hugo.create()


async def test_archived_registries_do_not_count_until_they_are_restored(emma: Shopper, demo: Demo) -> None:
    slug = await emma.create()
    copy(demo, slug, 2, "archived")
    copy(demo, slug, 48, "active")
    restored = [
        emma.send("PATCH", f"{PATH}/{slug}-archived-{number}", {"status": "completed"}, if_match="*")
        for number in (1, 2)
    ]
    answers = await asyncio.gather(*restored)
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert problem(next(answer for answer in answers if answer.status_code == 409)) == (409, "limit-reached")
    assert problem(await emma.send("POST", PATH, WEDDING)) == (409, "limit-reached")
    of_emma = "SELECT slug FROM registries WHERE status = 'archived' AND customer_id = %s"
    [(left,)] = demo.execute(of_emma, [emma.customer_id]).fetchall()
    renamed = await emma.send("PATCH", f"{PATH}/{left}", {"title": "Over", "status": "archived"}, if_match="*")
    assert renamed.status_code == 200
    assert (await emma.send("PATCH", f"{PATH}/{slug}", {"status": "archived"}, if_match="*")).status_code == 200
    assert await emma.create()


async def test_slug_has_the_title_and_a_random_suffix(emma: Shopper) -> None:
    first, second = await emma.create(), await emma.create()
    for slug in (first, second):
        assert re.fullmatch(r"emma-hugos-wedding-[a-z2-9]{10}", slug)
    assert first != second


async def test_slug_of_a_non_latin_title_has_the_event_type(emma: Shopper) -> None:
    slug = await emma.create(title="さくらと蓮の結婚式")
    assert re.fullmatch(r"wedding-[a-z2-9]{10}", slug)
    assert (await emma.read(slug)).json()["title"] == "さくらと蓮の結婚式"


async def test_registry_is_found_by_slug_and_by_id(
    client: httpx.AsyncClient, key: dict[str, str], emma: Shopper
) -> None:
    slug = await emma.create()
    by_slug = await client.get(f"{PATH}/{slug}", headers=key)
    by_id = await client.get(f"{PATH}/{by_slug.json()['id']}", headers=key)
    assert (by_id.status_code, by_id.content, by_id.headers["etag"]) == (200, by_slug.content, by_slug.headers["etag"])


async def test_new_registry_is_read_at_once_after_earlier_misses_of_its_slug(
    client: httpx.AsyncClient, key: dict[str, str], emma: Shopper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "secrets", SimpleNamespace(token_bytes=bytes))  # makes the slug predictable
    slug = "emma-hugos-wedding-aaaaaaaaaa"
    for _ in range(2):  # the second time from a cached absence
        assert (await client.get(f"{PATH}/{slug}", headers=key)).status_code == 404
    assert await emma.create() == slug
    assert (await client.get(f"{PATH}/{slug}", headers=key)).json()["slug"] == slug
    assert (await emma.read(slug)).json()["slug"] == slug


async def test_repeated_creation_with_one_key_creates_one_registry(emma: Shopper, demo: Demo) -> None:
    answers = [await emma.send("POST", PATH, WEDDING, idempotency_key="one") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].content == answers[1].content
    assert answers[0].headers["location"] == answers[1].headers["location"]
    assert count(demo, emma.customer_id) == 1


async def test_concurrent_creations_with_one_key_create_one_registry(emma: Shopper, demo: Demo) -> None:
    answers = await asyncio.gather(*(emma.send("POST", PATH, WEDDING, idempotency_key="one") for _ in range(5)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["slug"] for answer in answers}) == 1
    assert count(demo, emma.customer_id) == 1


async def test_idempotency_key_of_another_request_is_refused(emma: Shopper, demo: Demo) -> None:
    await emma.send("POST", PATH, WEDDING, idempotency_key="one")
    answer = await emma.send("POST", PATH, WEDDING | {"title": "Another"}, idempotency_key="one")
    assert problem(answer) == (409, "conflict")
    assert count(demo, emma.customer_id) == 1


async def test_idempotency_keys_are_scoped_by_customer(
    client: httpx.AsyncClient, key: dict[str, str], emma: Shopper, hugo: Shopper
) -> None:
    answers = [await each.send("POST", PATH, WEDDING, idempotency_key="one") for each in (emma, hugo)]
    for customer in ("4711", "4712"):  # the server acts for both
        headers = {**key, "X-Customer-Id": customer, "Idempotency-Key": "one"}
        answers.append(await client.post(PATH, json=WEDDING, headers=headers))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["slug"] for answer in answers}) == 4


async def test_server_that_repeats_a_creation_with_another_api_key_creates_nothing_more(
    client: httpx.AsyncClient, demo: Demo
) -> None:
    answers = []
    for _ in range(2):
        headers = {"X-API-Key": add_key(demo, 1).key, "X-Customer-Id": "4711", "Idempotency-Key": "one"}
        answers.append(await client.post(PATH, json=WEDDING, headers=headers))
    assert [answer.status_code for answer in answers] == [201, 201]
    assert count(demo, 4711) == 1


async def test_refused_creation_does_not_use_up_its_idempotency_key(emma: Shopper, demo: Demo) -> None:
    protected = WEDDING | {"visibility": "password"}
    assert (await emma.send("POST", PATH, protected, idempotency_key="one")).status_code == 422
    assert (await emma.send("POST", PATH, WEDDING, idempotency_key="one")).status_code == 201
    assert count(demo, emma.customer_id) == 1


async def test_expired_idempotency_key_can_be_used_again(emma: Shopper, demo: Demo) -> None:
    first = await emma.send("POST", PATH, WEDDING, idempotency_key="one")
    demo.execute("UPDATE idempotency_keys SET expires_at = now() - interval '1 second'")
    second = await emma.send("POST", PATH, WEDDING | {"title": "Another"}, idempotency_key="one")
    assert second.status_code == 201
    assert first.json()["slug"] != second.json()["slug"]


@pytest.mark.parametrize("idempotency_key", ["", "x" * 101, "with space"])
async def test_invalid_idempotency_key_is_refused(emma: Shopper, idempotency_key: str) -> None:
    answer = await emma.send("POST", PATH, WEDDING, idempotency_key=idempotency_key)
    assert problem(answer) == (422, "invalid-request")


@pytest.mark.parametrize("code", ["22P05", "22003", "22001", "22008"])
async def test_value_that_postgresql_rejects_is_answered_422(emma: Shopper, demo: Demo, code: str) -> None:
    before = count(demo, emma.customer_id)
    demo.execute(
        f"CREATE FUNCTION reject() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION 'no such value' USING ERRCODE = '{code}'; END $$"
    )
    demo.execute("CREATE TRIGGER reject BEFORE INSERT ON registries FOR EACH ROW EXECUTE FUNCTION reject()")
    try:
        answer = await emma.send("POST", PATH, WEDDING)
    finally:
        demo.execute("DROP FUNCTION reject CASCADE")
    assert problem(answer) == (422, "invalid-request")
    assert "no such value" not in answer.text
    assert count(demo, emma.customer_id) == before
