"""The pages behind an invitation's link, and whom the API invites."""

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from deployments.sandbox.mailbox.messages import Fault, FaultKind, Mailbox
from tests.support.aliases import Demo
from tests.support.api import WEDDING, Shopper, called_from
from tests.support.invitations import link_in
from wishcraft.domain.addresses import address_hash
from wishcraft.domain.invitations import TRIES, derive_key, make_token
from wishcraft.resources import Resources
from wishcraft.services.invitations.send import invite_shop
from wishcraft.settings import Settings
from wishcraft.store.shops import ShopRef

Send = Callable[[], Any]
HUGO = "hugo.laurent@example.com"
NO_CO_REGISTRANTS: list[dict[str, str]] = []


@pytest.fixture
def settings(settings_with_mail: Settings) -> Settings:
    return settings_with_mail


@pytest.fixture
def send(resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox) -> Send:
    """Function that runs the job: it returns the links that each address has received so far."""
    demo.execute("DELETE FROM invitations")

    async def run() -> dict[str, list[str]]:
        await invite_shop(resources, settings, shop, now=datetime.now(UTC))
        links: dict[str, list[str]] = {}
        for received in mailbox.messages:
            links.setdefault(received.recipients[0], []).append(link_in(received))
        return links

    return run


@pytest.fixture
async def link(emma: Shopper, send: Send) -> str:
    """Hugo's link: Emma's registry names him."""
    await emma.create()
    return str((await send())[HUGO][0])


def answers(demo: Demo) -> dict[str, str | None]:
    return dict(demo.execute("SELECT recipient, answer FROM invitations WHERE removed_at IS NULL").fetchall())


async def status_of_hugo(shopper: Shopper) -> str:
    [own] = (await shopper.send("GET", "/api/my-registries")).json()["registries"]
    return str(own["co_registrants"][0]["status"])


async def test_a_click_on_the_button_confirms(client: httpx.AsyncClient, emma: Shopper, demo: Demo, link: str) -> None:
    assert await status_of_hugo(emma) == "invited"
    page = await client.get(link)
    assert page.status_code == 200
    assert "Maple &amp; Pine sends you reminders" in page.text
    for url in (link, f"{link}/decline"):
        shown = (await client.get(url)).text
        actions = dict(re.findall(r'<form method="post" action="(.*?)"><button>(.*?)</button>', shown))
        assert {urljoin(url, path): label for path, label in actions.items()} == {
            link: "Yes, remind me",
            f"{link}/decline": "No, not me",
        }
    answer = await client.post(link)
    assert (answer.status_code, "Your address is confirmed" in answer.text) == (200, True)
    assert answers(demo)[HUGO] == "confirmed"
    assert await status_of_hugo(emma) == "confirmed"
    audited = demo.execute(
        "SELECT actor, action, resource, ip FROM audit_logs WHERE action ^@ 'invitation.'"
    ).fetchall()
    assert [each[:3] for each in audited] == [("invitation link", "invitation.confirmed", "registry")]
    assert str(audited[0][3]).startswith("127.0.0.1")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("path", ["", "/decline"])
async def test_link_scanners_answer_nothing(
    client: httpx.AsyncClient, demo: Demo, link: str, method: str, path: str
) -> None:
    page = await client.request(method, link + path)
    assert answers(demo)[HUGO] is None
    assert method != "GET" or "Confirm your address?" in page.text


async def test_the_first_answer_counts_and_each_click_is_answered(
    client: httpx.AsyncClient, demo: Demo, link: str
) -> None:
    pages = [await client.post(link) for _ in range(3)] + [await client.post(f"{link}/decline"), await client.get(link)]
    assert {page.status_code for page in pages} == {200}
    assert all("Your address is confirmed" in page.text for page in pages)
    assert answers(demo)[HUGO] == "confirmed"
    assert demo.execute("SELECT count(*) FROM audit_logs WHERE action ^@ 'invitation.'").fetchone() == (1,)


async def test_person_who_declines_is_never_asked_again(
    client: httpx.AsyncClient, emma: Shopper, demo: Demo, link: str, send: Send
) -> None:
    assert "You have declined" in (await client.post(f"{link}/decline")).text
    assert "You have declined" in (await client.post(link)).text
    [slug] = demo.execute("SELECT slug FROM registries ORDER BY id DESC LIMIT 1").fetchone() or []
    for named in (NO_CO_REGISTRANTS, WEDDING["co_registrants"]) * 2:
        answer = await emma.send("PATCH", f"/api/registries/{slug}", {"co_registrants": named}, if_match="*")
        assert answer.status_code == 200
    demo.execute("UPDATE invitations SET expires_at = expires_at - interval '1 year'")
    assert len((await send())[HUGO]) == 1
    assert await status_of_hugo(emma) == "declined"


async def test_many_answers_at_once_are_one(client: httpx.AsyncClient, demo: Demo, link: str) -> None:
    pages = await asyncio.gather(*(client.post(link + path) for path in ("", "/decline") * 4))
    assert {page.status_code for page in pages} == {200}
    [(answer,)] = demo.execute("SELECT answer FROM invitations WHERE recipient = %s", [HUGO]).fetchall()
    shown = {"confirmed": "Your address is confirmed", "declined": "You have declined"}[answer]
    assert all(shown in page.text for page in pages)
    assert demo.execute("SELECT action FROM audit_logs WHERE action ^@ 'invitation.'").fetchall() == [
        (f"invitation.{answer}",)
    ]


@pytest.mark.parametrize("confirm_first", [True, False] * 2)
async def test_confirmation_and_removal_at_once_leave_no_named_stranger(
    client: httpx.AsyncClient, emma: Shopper, demo: Demo, link: str, confirm_first: bool
) -> None:
    [slug] = demo.execute("SELECT slug FROM registries ORDER BY id DESC LIMIT 1").fetchone() or []
    remove = emma.send("PATCH", f"/api/registries/{slug}", {"co_registrants": []}, if_match="*")
    confirm = client.post(link)
    first, second = (confirm, remove) if confirm_first else (remove, confirm)
    statuses = {each.status_code for each in await asyncio.gather(first, second)}
    assert statuses <= {200, 404}
    assert HUGO not in answers(demo)
    page = await client.get(link)
    assert (page.status_code, "This invitation has ended" in page.text) == (404, True)


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", ""), ("POST", "/decline")])
async def test_expired_link_says_so_and_changes_nothing(
    client: httpx.AsyncClient, emma: Shopper, demo: Demo, link: str, method: str, path: str
) -> None:
    demo.execute("UPDATE invitations SET expires_at = expires_at - interval '14 days 1 second'")
    answer = await client.request(method, link + path)
    assert (answer.status_code, "This invitation has ended" in answer.text) == (404, True)
    assert answers(demo)[HUGO] is None
    assert await status_of_hugo(emma) == "expired"


@pytest.mark.parametrize("path", ["", "/decline"])
@pytest.mark.parametrize("wrong", ["x", "A" * 48, "another key's"])
async def test_made_up_link_does_nothing(
    client: httpx.AsyncClient, demo: Demo, link: str, queries: list[str], wrong: str, path: str
) -> None:
    [(hugo,)] = demo.execute("SELECT id FROM invitations WHERE recipient = %s", [HUGO]).fetchall()
    token = make_token(hugo, derive_key("another")) if wrong == "another key's" else wrong
    answer = await client.post(f"/api/invitations/{token}{path}")
    assert (answer.status_code, "This link does not work" in answer.text) == (404, True)
    assert answers(demo)[HUGO] is None
    assert not queries or wrong == "another key's"


async def test_page_is_not_cached_framed_or_referred_to_and_escapes(
    client: httpx.AsyncClient, demo: Demo, link: str
) -> None:
    demo.execute("UPDATE shops SET name = '<script>alert(1)</script>'")
    page = await client.get(link)
    assert "<script" not in page.text
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["x-frame-options"] == "DENY"
    assert "form-action 'self'" in page.headers["content-security-policy"]


async def test_registrant_from_the_storefront_confirms_the_own_address(
    client: httpx.AsyncClient, emma: Shopper, demo: Demo, send: Send
) -> None:
    await emma.create(co_registrants=[])
    links = await send()
    assert list(links) == ["emma.reed@example.com"]
    await client.post(links["emma.reed@example.com"][0])
    assert answers(demo) == {"emma.reed@example.com": "confirmed"}


async def test_a_confirmation_is_for_one_registry(
    client: httpx.AsyncClient, emma: Shopper, demo: Demo, link: str
) -> None:
    await client.post(link)
    [slug] = demo.execute("SELECT slug FROM registries ORDER BY id DESC LIMIT 1").fetchone() or []
    hugo = WEDDING["co_registrants"][0]
    await emma.send("PATCH", f"/api/registries/{slug}", {"registrant": hugo, "co_registrants": []}, if_match="*")
    await emma.create(registrant=hugo, co_registrants=[])
    query = "SELECT answer FROM invitations WHERE recipient = %s ORDER BY id"
    assert demo.execute(query, [HUGO]).fetchall() == [("confirmed",), (None,)]


async def test_a_server_vouches_for_the_registrant_and_not_for_co_registrants(
    client: httpx.AsyncClient, key: dict[str, str], demo: Demo, send: Send
) -> None:
    headers = key | {"X-Customer-Id": "7100000000009"}
    assert (await client.post("/api/registries", json=WEDDING, headers=headers)).status_code == 201
    assert answers(demo) == {"emma.reed@example.com": "confirmed", HUGO: None}
    assert list(await send()) == [HUGO]


async def test_a_server_vouches_for_no_address_that_it_does_not_send(
    client: httpx.AsyncClient, key: dict[str, str], emma: Shopper, demo: Demo, link: str
) -> None:
    [slug] = demo.execute("SELECT slug FROM registries ORDER BY id DESC LIMIT 1").fetchone() or []
    headers = key | {"X-Customer-Id": str(emma.customer_id), "If-Match": "*"}
    for body, answer in (({"co_registrants": []}, None), ({"registrant": WEDDING["registrant"]}, "confirmed")):
        assert (await client.patch(f"/api/registries/{slug}", json=body, headers=headers)).status_code == 200
        assert answers(demo) == {"emma.reed@example.com": answer}


async def test_guests_see_no_status(emma: Shopper, guest: Shopper, link: str) -> None:
    [own] = (await emma.send("GET", "/api/my-registries")).json()["registries"]
    seen = (await guest.read(own["slug"])).text
    assert 'status":"invited' not in seen
    assert HUGO not in seen


async def test_the_same_address_is_invited_once_per_registry(emma: Shopper, demo: Demo, send: Send) -> None:
    slug = await emma.create()
    await send()
    hugo = WEDDING["co_registrants"][0]
    for named in ([hugo], [], [hugo], [hugo | {"email": HUGO.upper()}], [hugo, hugo]):
        await emma.send("PATCH", f"/api/registries/{slug}", {"co_registrants": named}, if_match="*")
        await send()
    assert {recipient: len(links) for recipient, links in (await send()).items()} == {
        HUGO: 1, "emma.reed@example.com": 1,
    }  # fmt: skip
    assert set(answers(demo)) == {HUGO, "emma.reed@example.com"}


async def test_a_removed_person_who_waits_is_not_invited(emma: Shopper, demo: Demo, send: Send) -> None:
    slug = await emma.create()
    await emma.send("PATCH", f"/api/registries/{slug}", {"co_registrants": []}, if_match="*")
    assert HUGO not in await send()
    assert set(answers(demo)) == {"emma.reed@example.com"}


async def test_removal_of_a_person_whose_mail_may_be_out_keeps_the_tries(
    client: httpx.AsyncClient, emma: Shopper, send: Send, mailbox: Mailbox
) -> None:
    slug = await emma.create()
    mailbox.faults.set(Fault(FaultKind.DROP, HUGO))
    [hugo] = WEDDING["co_registrants"]
    for _ in range(TRIES + 2):
        links = (await send())[HUGO]
        for named in ([], [hugo]):
            await emma.send("PATCH", f"/api/registries/{slug}", {"co_registrants": named}, if_match="*")
    assert len(links) == TRIES
    assert len(set(links)) == 1
    assert (await client.get(links[0])).status_code == 200


async def test_a_failed_creation_sends_no_invitation(emma: Shopper, demo: Demo, send: Send) -> None:
    broken = WEDDING | {"visibility": "password"}  # without an access code
    assert (await emma.send("POST", "/api/registries", broken)).status_code == 422
    await emma.send("POST", "/api/registries", WEDDING, idempotency_key="one")
    await emma.send("POST", "/api/registries", WEDDING, idempotency_key="one")
    assert set(answers(demo)) == {"emma.reed@example.com", HUGO}
    assert {len(links) for links in (await send()).values()} == {1}


async def test_a_customer_cannot_mail_own_text_to_strangers(
    emma: Shopper, demo: Demo, send: Send, mailbox: Mailbox, settings: Settings
) -> None:
    text = "Your account is locked https://evil.example/login www.evil.example a@evil.example"
    name = "Call https://evil.example 0800 123456"

    def stranger(number: int, person: int) -> dict[str, str]:
        email = f"stranger{number}-{person}@example.com"
        return {"first_name": name, "last_name": "www.evil.example", "email": email}

    for number in range(50):
        await emma.create(
            title=text,
            registrant=stranger(number, 0),
            co_registrants=[stranger(number, person) for person in range(1, 5)],
            event_date="2027-06-12",
        )
    for _ in range(2):
        await send()
    assert len(mailbox.messages) == settings.invitations_per_customer == 20
    for received in mailbox.messages:
        assert str(received.parsed["Subject"]) == "Please confirm your e-mail address"
        # Without the boundaries and tokens: they are random, and may hold any digits.
        content = "\n".join(str(value) for value in received.parsed.values() if "boundary=" not in str(value))
        for kind in ("plain", "html"):
            body = received.parsed.get_body([kind])
            assert body
            content += re.sub(r"/api/(invitations|unsubscribe)/[\w-]+", "", body.get_content())
        assert "evil.example" not in content
        assert "locked" not in content
        assert "0800" not in content
    assert demo.execute("SELECT count(*) FROM invitations WHERE state = 'pending'").fetchone() == (230,)


@pytest.mark.usefixtures("one_window")
async def test_made_up_links_cost_a_query_each_only_until_their_sender_is_refused(
    client: httpx.AsyncClient, link: str, queries: list[str]
) -> None:
    unknown = [f"/api/invitations/{make_token(number, derive_key('another'))}" for number in range(70)]
    answers = [await client.get(path) for path in unknown]
    assert {answer.status_code for answer in answers[:60]} == {404}
    assert {answer.status_code for answer in answers[-5:]} == {429}
    queries.clear()
    assert (await client.post(unknown[0])).status_code == 429
    assert not [query for query in queries if "invitations" in query]
    async with called_from(client, "203.0.113.9") as other:
        assert (await other.get(link)).status_code == 200


async def test_who_has_unsubscribed_is_promised_no_reminder(
    client: httpx.AsyncClient, link: str, mailbox: Mailbox, emma: Shopper
) -> None:
    [received] = [each for each in mailbox.messages if each.recipients == [HUGO]]
    unsubscribe = urlsplit(str(received.parsed["List-Unsubscribe"]).strip("<>")).path
    assert (await client.post(unsubscribe)).status_code == 200
    for answer in (await client.get(link), await client.post(link)):
        assert answer.status_code == 200
        assert "No mail goes to this address" in answer.text
        assert "<button" not in answer.text
    assert await status_of_hugo(emma) == "invited"


def suppress_hugo(demo: Demo, reason: str) -> None:
    demo.execute("INSERT INTO email_suppressions VALUES (1, %s, %s)", [address_hash(1, HUGO), reason])


async def test_a_confirmation_lifts_a_bounce_because_the_invitation_has_arrived(
    client: httpx.AsyncClient, demo: Demo, link: str
) -> None:
    suppress_hugo(demo, "bounce")
    assert "Yes, remind me" in (await client.get(link)).text
    assert "Your address is confirmed" in (await client.post(link)).text
    assert answers(demo)[HUGO] == "confirmed"
    assert demo.execute("SELECT count(*) FROM email_suppressions").fetchone() == (0,)
    entries = demo.execute("SELECT action FROM audit_logs WHERE action LIKE 'mail.%'").fetchall()
    assert entries == [("mail.resubscribed",)]


async def test_declining_lifts_nothing(client: httpx.AsyncClient, demo: Demo, link: str) -> None:
    suppress_hugo(demo, "bounce")
    assert "You have declined" in (await client.post(f"{link}/decline")).text
    assert demo.execute("SELECT count(*) FROM email_suppressions").fetchone() == (1,)


@pytest.mark.parametrize("reason", ["unsubscribe", "complaint"])
async def test_a_confirmation_does_not_lift_what_the_owner_has_decided(
    client: httpx.AsyncClient, demo: Demo, link: str, reason: str
) -> None:
    suppress_hugo(demo, reason)
    assert "<form" not in (await client.get(link)).text
    assert "No mail goes to this address" in (await client.post(link)).text
    assert answers(demo)[HUGO] is None
    assert demo.execute("SELECT reason FROM email_suppressions").fetchall() == [(reason,)]
