from typing import Any

import httpx
import pytest
from psycopg import Connection

from wishcraft.domain.addresses import address_hash
from wishcraft.domain.unsubscribe import Subscription, make_token
from wishcraft.services.reminders.unsubscribe import unsubscribe_keys
from wishcraft.settings import Settings

Demo = Connection[tuple[Any, ...]]
HASH = address_hash(1, "emma@example.com")


@pytest.fixture
def link(settings: Settings) -> str:
    """Emma's link in a mail of the first shop."""
    return f"/api/unsubscribe/{make_token(Subscription(1, HASH), unsubscribe_keys(settings)[0])}"


def suppressed(demo: Demo) -> list[tuple[Any, ...]]:
    return demo.execute("SELECT shop_id, address_hash, reason FROM email_suppressions").fetchall()


async def test_one_click_unsubscribes(client: httpx.AsyncClient, demo: Demo, link: str) -> None:
    answer = await client.post(link, data={"List-Unsubscribe": "One-Click"})  # what RFC 8058 has mail programs send
    assert answer.status_code == 200
    assert "Maple &amp; Pine will send you no more mail" in answer.text
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


async def test_unsubscription_outlives_a_bounce(client: httpx.AsyncClient, demo: Demo, link: str) -> None:
    demo.execute("INSERT INTO email_suppressions VALUES (1, %s, 'bounce')", [HASH])
    await client.post(link)
    assert suppressed(demo) == [(1, HASH, "unsubscribe")]


async def test_link_of_an_uninstalled_shop_does_not_work(client: httpx.AsyncClient, demo: Demo, link: str) -> None:
    demo.execute("DELETE FROM shops WHERE id = 1")
    assert (await client.post(link)).status_code == 404


async def test_shop_name_is_escaped_on_the_page(client: httpx.AsyncClient, demo: Demo, link: str) -> None:
    demo.execute("UPDATE shops SET name = '<script>alert(1)</script>' WHERE id = 1")
    assert "<script" not in (await client.get(link)).text
