import re
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from api.routes.unsubscribe import UNDOINGS
from tests.support.aliases import Demo
from wishcraft.domain.addresses import address_hash
from wishcraft.domain.mail_suppressions import SuppressionReason
from wishcraft.domain.unsubscribe import Subscription, make_token
from wishcraft.resources import Resources
from wishcraft.services.mail.unsubscribe import unsubscribe_keys, unsubscribe_link
from wishcraft.settings import Settings
from wishcraft.store.suppressions import suppress

HASH = address_hash(1, "emma@example.com")


@pytest.fixture
def link(settings: Settings) -> str:
    """Emma's link in a mail of the first shop."""
    return f"/api/unsubscribe/{make_token(Subscription(1, HASH), unsubscribe_keys(settings)[0])}"


def suppressed(demo: Demo) -> list[tuple[Any, ...]]:
    return demo.execute("SELECT shop_id, address_hash, reason FROM email_suppressions ORDER BY 1, 2").fetchall()


async def test_one_click_unsubscribes(client: httpx.AsyncClient, demo: Demo, link: str) -> None:
    answer = await client.post(link, data={"List-Unsubscribe": "One-Click"})  # what RFC 8058 has mail programs send
    assert answer.status_code == 200
    assert "Maple &amp; Pine sends no more mail to your address." in answer.text
    assert suppressed(demo) == [(1, HASH, "unsubscribe")]


async def test_unsubscribing_twice_changes_nothing(client: httpx.AsyncClient, demo: Demo, link: str) -> None:
    answers = [await client.post(link) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {200}
    assert suppressed(demo) == [(1, HASH, "unsubscribe")]
    query = "SELECT shop_id, actor, resource_id, host(ip) FROM audit_logs WHERE action = 'mail.unsubscribed'"
    assert demo.execute(query).fetchall() == [(1, "unsubscribe link", HASH.hex(), "127.0.0.1")]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_showing_the_page_never_unsubscribes(
    client: httpx.AsyncClient, demo: Demo, link: str, method: str
) -> None:
    await client.request(method, link)
    assert suppressed(demo) == []


async def test_page_has_a_button_that_posts_to_its_own_address(client: httpx.AsyncClient, link: str) -> None:
    page = await client.get(link)
    assert page.headers["content-type"].startswith("text/html")
    assert '<form method="post">' in page.text
    assert "Maple &amp; Pine" in page.text


async def test_page_is_not_cached_and_sends_no_referrer(client: httpx.AsyncClient, link: str) -> None:
    headers = (await client.get(link)).headers
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert "form-action 'self'" in headers["content-security-policy"]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("wrong", ["x", "A" * 96, "signed by another"])
async def test_forged_link_does_nothing(client: httpx.AsyncClient, demo: Demo, method: str, wrong: str) -> None:
    token = make_token(Subscription(1, HASH), b"another") if wrong == "signed by another" else wrong
    answer = await client.request(method, f"/api/unsubscribe/{token}")
    assert answer.status_code == 404
    assert "does not work" in answer.text
    assert suppressed(demo) == []


async def test_unsubscribing_and_undoing_leave_an_address_whose_owner_complained(
    client: httpx.AsyncClient, demo: Demo, link: str
) -> None:
    demo.execute("INSERT INTO email_suppressions VALUES (1, %s, 'complaint')", [HASH])
    for path in (link, f"{link}/undo"):
        answer = await client.post(path)
        assert (answer.status_code, "No mail goes to this address" in answer.text) == (200, True)
        assert "<form" not in answer.text
        assert suppressed(demo) == [(1, HASH, "complaint")]


async def test_link_of_an_earlier_mail_lifts_the_suppression_of_an_address_that_bounced(
    client: httpx.AsyncClient, demo: Demo, link: str
) -> None:
    demo.execute("INSERT INTO email_suppressions VALUES (1, %s, 'bounce')", [HASH])
    demo.execute("INSERT INTO email_suppressions VALUES (2, %s, 'bounce')", [HASH])
    shown = (await client.get(link)).text
    assert "because mail to it came back." in shown
    [(path, label)] = re.findall(r'<form method="post" action="(.*?)"><button>(.*?)</button>', shown)
    assert label == "Send me mail again"
    assert "You get mail again" in (await client.post(urljoin(link, path))).text
    assert suppressed(demo) == [(2, HASH, "bounce")]


async def test_unsubscription_after_a_bounce_is_kept_as_one(client: httpx.AsyncClient, demo: Demo, link: str) -> None:
    demo.execute("INSERT INTO email_suppressions VALUES (1, %s, 'bounce')", [HASH])
    assert "You are unsubscribed" in (await client.post(link)).text
    assert suppressed(demo) == [(1, HASH, "unsubscribe")]


@pytest.mark.parametrize("before", ["bounce", "unsubscribe"])
async def test_a_complaint_replaces_any_other_reason(demo: Demo, resources: Resources, before: str) -> None:
    demo.execute("INSERT INTO email_suppressions VALUES (1, %s, %s)", [HASH, before])
    async with resources.db.transaction() as session:
        assert await suppress(session, 1, HASH, SuppressionReason.COMPLAINT)
        assert not await suppress(session, 1, HASH, SuppressionReason.BOUNCE)
        assert not await suppress(session, 1, HASH, SuppressionReason.UNSUBSCRIBE)
    assert suppressed(demo) == [(1, HASH, "complaint")]


async def test_link_of_an_uninstalled_shop_does_not_work(client: httpx.AsyncClient, demo: Demo, link: str) -> None:
    demo.execute("DELETE FROM shops WHERE id = 1")
    assert (await client.post(link)).status_code == 404


async def test_link_of_a_mail_shows_the_masked_address_alone(client: httpx.AsyncClient, settings: Settings) -> None:
    link = urlsplit(unsubscribe_link(settings.model_copy(update={"public_url": "https://x"}), 1, "emma@mail.example"))
    text = (await client.get(link.path)).text
    assert "e***@m***.example" in text
    assert "emma" not in text
    changed = link.path[:-1] + ("A" if link.path[-1] != "A" else "B")
    assert (await client.get(changed)).status_code == 404


async def test_page_knows_that_it_is_done_and_undoes_it(client: httpx.AsyncClient, demo: Demo, link: str) -> None:
    await client.post(link)
    page = (await client.get(link)).text
    assert "You are unsubscribed" in page
    assert f'action="{link.rpartition("/")[2]}/undo"' in page
    for _ in range(2):
        answer = await client.post(f"{link}/undo")
        assert (answer.status_code, "You get mail again" in answer.text) == (200, True)
        assert f'action="../{link.rpartition("/")[2]}"' in answer.text
    assert suppressed(demo) == []
    query = "SELECT action FROM audit_logs WHERE resource_id = %s ORDER BY id"
    assert demo.execute(query, [HASH.hex()]).fetchall() == [("mail.unsubscribed",), ("mail.resubscribed",)]


@pytest.mark.usefixtures("one_window")
async def test_undoing_is_limited_by_address_and_unsubscribing_is_not(
    client: httpx.AsyncClient, demo: Demo, link: str, settings: Settings
) -> None:
    same = f"/api/unsubscribe/{make_token(Subscription(1, HASH, 'e***'), unsubscribe_keys(settings)[0])}"
    for _ in range(UNDOINGS.quota):
        await client.post(link)
        for _ in range(2):  # the second changes nothing, and does not count
            assert (await client.post(f"{link}/undo")).status_code == 200
    assert (await client.post(link)).status_code == 200
    for each in (link, same):
        refused = await client.post(f"{each}/undo")
        assert refused.status_code == 429
        assert 0 < int(refused.headers["retry-after"]) <= UNDOINGS.seconds
        assert (await client.post(each)).status_code == 200
    assert suppressed(demo) == [(1, HASH, "unsubscribe")]
    recorded = demo.execute("SELECT count(*) FROM audit_logs WHERE resource_id = %s", [HASH.hex()]).fetchone()
    assert recorded == (2 * UNDOINGS.quota + 1,)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_showing_the_page_after_undoing_undoes_nothing(
    client: httpx.AsyncClient, demo: Demo, link: str, method: str
) -> None:
    await client.post(link)
    await client.request(method, f"{link}/undo")
    assert suppressed(demo) == [(1, HASH, "unsubscribe")]


async def test_shop_name_is_escaped_on_the_page(client: httpx.AsyncClient, demo: Demo, link: str) -> None:
    demo.execute("UPDATE shops SET name = '<script>alert(1)</script>' WHERE id = 1")
    assert "<script" not in (await client.get(link)).text
