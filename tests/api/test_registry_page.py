"""The page of a registry on the shop's own domain."""

import html
import re
from decimal import Decimal
from typing import Final
from urllib.parse import quote

import httpx
import pytest

from deployments.sandbox.demo_rows import ACCESS_CODE
from tests.support.aliases import Demo
from tests.support.api import SHOP, Shopper, app_state_of, problem, public_slug
from tests.support.outages import postgresql_unavailable
from wishcraft.errors import DatabaseUnavailable
from wishcraft.settings import Settings

HOSTILE: Final = "{{ shop.secret }}{% include 'x' %}<script>alert(1)</script>\"'&{"
FORM: Final = {"content-type": "application/x-www-form-urlencoded"}


async def page_of(shopper: Shopper, slug: str, **headers: str) -> httpx.Response:
    return await shopper.send("GET", f"/api/r/{slug}", **headers)


def protected_slug(demo: Demo) -> str:
    demo.execute(
        """UPDATE registries SET visibility = 'password', status = 'active',
           access_code_hash = (SELECT access_code_hash FROM registries WHERE access_code_hash IS NOT NULL LIMIT 1)
           WHERE id = (SELECT min(id) FROM registries WHERE shop_id = 1)"""
    )
    found = demo.execute("SELECT slug FROM registries WHERE shop_id = 1 ORDER BY id LIMIT 1").fetchone()
    assert found
    return str(found[0])


async def test_the_page_shows_each_item_with_price_what_is_left_and_links(guest: Shopper, demo: Demo) -> None:
    slug = public_slug(demo)
    demo.execute(
        """UPDATE registry_items SET quantity_wanted = quantity_purchased + 3, available = true, handle = 'café/à la'
           WHERE registry_id = (SELECT id FROM registries WHERE slug = %s)""",
        [slug],
    )
    registry, answer = (await guest.read(slug)).json(), await page_of(guest, slug)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    text = html.unescape(answer.text)
    assert f"<title>{registry['title']}</title>" in text
    assert registry["items"]
    for item in registry["items"]:
        assert item["product_title"] in text
        assert f"${Decimal(item['price']):,}" in text
        assert f"3 of {item['wanted']} still wished for" in text
        query = f"variant={item['variant_id']}&_registry_item={item['attribution']}"
        assert f'href="/products/{quote("café/à la", safe="")}?{query}"' in text
        assert f'<input type="hidden" name="id" value="{item["variant_id"]}">' in text
        assert f'<input type="hidden" name="properties[_registry_item]" value="{item["attribution"]}">' in text
    assert text.count('action="/cart/add" method="post"') == len(registry["items"])


async def test_the_pages_have_the_language_and_the_colour_of_the_shop(guest: Shopper, demo: Demo) -> None:
    demo.execute("""UPDATE shops SET settings = settings || '{"language": "ja", "brand_colour": "#ffe08a"}'""")
    assert "招待状に記載のアクセスコード" in (await page_of(guest, protected_slug(demo))).text
    assert "このリストは見つかりません" in (await page_of(guest, "no-such-registry")).text
    slug = public_slug(demo)
    demo.execute("UPDATE registries SET event_date = '2026-03-14' WHERE slug = %s", [slug])
    page = html.unescape((await page_of(guest, slug)).text)
    assert "--accent: #ffe08a; --on-accent: #000000" in page
    for text in ('<html lang="ja">', "2026年3月14日土曜日", "点が贈られました"):
        assert text in page


async def test_the_pages_are_served_while_postgresql_does_not_answer(
    client: httpx.AsyncClient, guest: Shopper, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    app_state_of(client).shop_settings.seconds = 0
    slug = public_slug(demo)
    await page_of(guest, slug)

    async def unavailable(*_: object) -> None:
        raise DatabaseUnavailable("test")

    monkeypatch.setattr("api.state.shops.find_settings", unavailable)
    page = await page_of(guest, slug)
    assert (page.status_code, '<html lang="en">' in page.text) == (200, True)


@pytest.mark.parametrize("is_caller_known", [True, False])
async def test_page_says_that_it_cannot_be_shown_while_postgresql_does_not_answer(
    guest: Shopper, demo: Demo, settings: Settings, *, is_caller_known: bool
) -> None:
    demo.execute("""UPDATE shops SET settings = settings || '{"language": "de"}'""")
    slug = public_slug(demo)
    if is_caller_known:
        await page_of(guest, "no-such-registry")
    with postgresql_unavailable(settings):
        pages = [await page_of(guest, slug), await guest.send("POST", f"/api/r/{slug}", b"access_code=tulip")]
    for page in pages:
        assert (page.status_code, page.headers["content-type"]) == (503, "text/html; charset=utf-8")
        assert page.headers["retry-after"]
        assert ("kann gerade nicht angezeigt werden" if is_caller_known else "cannot be shown right now") in page.text


async def test_what_is_given_or_out_of_stock_cannot_be_put_into_the_cart(guest: Shopper, demo: Demo) -> None:
    slug = public_slug(demo)
    of_this = "registry_id = (SELECT id FROM registries WHERE slug = %s)"
    demo.execute(f"UPDATE registry_items SET quantity_purchased = quantity_wanted + 1 WHERE {of_this}", [slug])  # noqa: S608  ours
    assert "/cart/add" not in (page := (await page_of(guest, slug)).text)
    assert "Already given" in page
    other = await Shopper(guest._client, guest._signed, 7_100_000_000_009).create()
    assert "There is nothing on this list yet" in (page := (await page_of(guest, other)).text)
    assert "gifts given" not in page


async def test_no_text_of_a_person_is_liquid_or_html(guest: Shopper, demo: Demo) -> None:
    slug = public_slug(demo)
    demo.execute("UPDATE registries SET title = %(text)s, description = %(text)s WHERE slug = %(slug)s",
                 {"text": HOSTILE, "slug": slug})  # fmt: skip
    demo.execute(
        """UPDATE registry_items SET handle = %(text)s, product_title = %(text)s, variant_title = %(text)s,
           image = %(text)s, notes = %(text)s, available = true, quantity_wanted = quantity_purchased + 2
           WHERE registry_id = (SELECT id FROM registries WHERE slug = %(slug)s)""",
        {"text": HOSTILE, "slug": slug},
    )
    page = (await page_of(guest, slug)).text
    visible = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    assert html.unescape(visible).count("shop.secret") >= 5
    for sign in ("{", "}", "<script", "javascript:"):
        assert sign not in visible
    assert "%" not in re.sub(r'style="width:\d+%"', "", visible)


async def test_a_protected_registry_opens_by_the_form_and_not_otherwise(guest: Shopper, demo: Demo) -> None:
    slug = protected_slug(demo)
    registry = demo.execute("SELECT title FROM registries WHERE slug = %s", [slug]).fetchone()
    assert registry
    answer = await page_of(guest, slug)
    assert answer.status_code == 403
    assert '<form method="post">' in answer.text
    for body in (b"", b"access_code=", b"access_code=wrong", b"access_code=%00", b"x=1&" * 50, b"\xff", b"[" * 9_999):
        refused = await guest.send("POST", f"/api/r/{slug}", body, **FORM)
        assert refused.status_code == 403, body
        assert "This is not the access code" in refused.text
        assert registry[0] not in html.unescape(refused.text)
    opened = await guest.send("POST", f"/api/r/{slug}", f"access_code={quote(ACCESS_CODE)}".encode(), **FORM)
    assert opened.status_code == 200
    assert registry[0] in html.unescape(opened.text)
    assert opened.headers["x-robots-tag"] == "noindex"
    assert (await page_of(guest, slug)).status_code == 403


async def test_page_asks_to_wait_after_too_many_wrong_codes(guest: Shopper, demo: Demo) -> None:
    slug = protected_slug(demo)
    for number in range(11):
        answer = await guest.send("POST", f"/api/r/{slug}", f"access_code=wrong{number}".encode(), **FORM)
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 600
    assert "Wait a while, then try again." in answer.text
    assert '<form method="post">' in answer.text


async def test_a_grant_in_the_address_opens_the_page_too(guest: Shopper, demo: Demo) -> None:
    slug = protected_slug(demo)
    unlocked = await guest.send("POST", f"/api/registries/{slug}/unlock", {"access_code": ACCESS_CODE})
    assert (await guest.send("GET", f"/api/r/{slug}?grant={unlocked.json()['grant']}")).status_code == 200


@pytest.mark.parametrize("change", ["visibility = 'private'", "status = 'archived'"])
async def test_a_registry_that_guests_cannot_read_looks_as_if_there_were_none(
    guest: Shopper, demo: Demo, change: str
) -> None:
    slug = public_slug(demo)
    demo.execute(f"UPDATE registries SET {change} WHERE slug = %s", [slug])  # noqa: S608  ours
    hidden, unknown = await page_of(guest, slug), await page_of(guest, "no-such-registry")
    posted = await guest.send("POST", f"/api/r/{slug}", b"access_code=x", **FORM)
    assert [each.status_code for each in (hidden, unknown, posted)] == [404, 404, 404]
    assert hidden.text == unknown.text == posted.text
    assert hidden.headers["cache-control"] == "no-store"


async def test_registry_of_another_shop_is_not_found(demo: Demo, guest: Shopper) -> None:
    found = demo.execute("SELECT slug FROM registries WHERE shop_id = 2 AND visibility = 'public'").fetchone()
    assert found
    assert (await page_of(guest, found[0])).status_code == 404


async def test_the_page_needs_shopifys_signature(client: httpx.AsyncClient, demo: Demo) -> None:
    slug = public_slug(demo)
    assert problem(await client.get(f"/api/r/{slug}")) == (401, "unauthorized")
    assert problem(await client.get(f"/api/r/{slug}?shop={SHOP}&signature=00")) == (401, "unauthorized")


async def test_an_unchanged_page_is_not_sent_again(guest: Shopper, emma: Shopper) -> None:
    slug = await emma.create()
    first = await page_of(guest, slug)
    assert first.headers["cache-control"] == "private, no-cache"
    again = await page_of(guest, slug, if_none_match=first.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")
    await emma.send("PATCH", f"/api/registries/{slug}", {"title": "Another title"}, if_match="*")
    changed = await page_of(guest, slug, if_none_match=first.headers["etag"])
    assert changed.status_code == 200
    assert "Another title" in changed.text


async def test_the_page_of_a_registry_runs_no_script_and_cannot_be_framed(guest: Shopper, demo: Demo) -> None:
    policy = (await page_of(guest, public_slug(demo))).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script-src" not in policy
