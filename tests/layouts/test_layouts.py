"""Every page and mail in windows of 1,400, 768 and 390 px, light and dark: no wider than the window, and legible."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, date
from email.message import EmailMessage

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from markdown_it import MarkdownIt
from playwright.async_api import Browser, Locator, Page, Route, expect

from deployments.sandbox.mailbox.messages import Mailbox
from deployments.sandbox.monitoring.app import Addresses
from deployments.sandbox.monitoring.app import create_app as create_monitoring
from tests.support.aliases import Demo
from tests.support.api import Shopper, open_api_client, public_slug
from tests.support.demo_reports import NOW, maintenance_reports
from tests.support.http_server import served
from tests.support.layouts import find_faults, open_page, show
from tests.support.mail_content import invitation_content, item, reminder_content
from tests.support.mail_content import mails as translated_mails
from wishcraft.domain.languages import Language
from wishcraft.domain.work_results import WorkResult
from wishcraft.errors import ShopifyForbidden
from wishcraft.mail.messages.content import Letterhead
from wishcraft.mail.messages.data_request import compose_data_request
from wishcraft.rendering.link_pages import Button, link_page
from wishcraft.reports.html import Report, as_html
from wishcraft.reports.markdown import link_runbooks
from wishcraft.reports.run_summary import render_summary
from wishcraft.reports.webhooks import unmatched_page
from wishcraft.settings import Settings
from wishcraft.store.purchases import ListedLine, OverPurchase

pytestmark = pytest.mark.asyncio(loop_scope="session")
LONG = "a-word-that-is-wider-than-a-phone-" * 3


@pytest_asyncio.fixture(loop_scope="session")
async def client(settings: Settings, demo: Demo) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API in the browser's event loop."""
    async with open_api_client(settings, records_minutes=False) as client:
        yield client


async def faults_of(browser: Browser, pages: dict[str, str]) -> dict[str, list[str]]:
    """The faults of each page by its name; none if it has none."""
    found = {}
    page = await browser.new_page()  # for all of them: each window would be a process of its own
    for name, shown in pages.items():
        await page.goto("about:blank")
        await show(page, shown)
        if faults := await find_faults(page):
            found[name] = faults
    return found


async def test_reports_fit_every_window_and_are_legible(browser: Browser) -> None:
    reports = {job: as_html(report) for job, report in maintenance_reports().items()}
    assert await faults_of(browser, reports) == {}


async def test_failures_of_a_run_wrap_on_a_phone(browser: Browser) -> None:
    failed = WorkResult("maple-and-pine.myshopify.com", problem="Shopify answered 403", advice=ShopifyForbidden.advice)
    summary = link_runbooks(render_summary([failed]), "http://127.0.0.1:8000/runbooks")
    page = await open_page(browser, as_html(Report("a", "b", summary)), viewport={"width": 390, "height": 844})
    await expect(page.locator("li li").get_by_role("link", name="runbook shopify-forbidden")).to_be_visible()
    assert await find_faults(page) == []


@pytest.mark.parametrize("job", ["daily-report", "monthly-report"])
async def test_no_table_of_a_report_scrolls(browser: Browser, job: str) -> None:
    page = await open_page(browser, as_html(maintenance_reports()[job]), viewport={"width": 390, "height": 844})
    wide = "all => all.filter(each => each.scrollWidth > each.clientWidth).map(each => each.innerText)"
    assert await page.locator("table").evaluate_all(wide) == []


async def test_tables_of_purchases_to_be_matched_fit_a_phone_in_the_prefect_ui(browser: Browser) -> None:
    items = [100_000_701 + number for number in range(5)]
    why = "the shop has no such item, or no longer"
    line = ListedLine(
        id=123_456, order_id=17_184_152_220_623, order_name="#28912463", product_title="Classic Wooden Rattle",
        variant_id=40_000_010_000_011, quantity=12, status="confirmed", reason=why, created_at=NOW,
        named_item=items[0], named_registry=None, candidates=items,
    )  # fmt: skip
    excess = OverPurchase(100_000_123, items[0], "Classic Wooden Rattle", 1, 12)
    page = unmatched_page("maple-and-pine.myshopify.com", [line], 1, [excess], UTC)
    # As Prefect lays out an artifact in a window of 390 px; its tables do not scroll.
    style = "main { width: 358px; font: 14px sans-serif } th, td { padding: 8px } table { border-spacing: 0 }"
    tables = MarkdownIt().enable("table").render(page.body)
    shown = await open_page(browser, f"<style>{style}</style><main>{tables}</main>")
    widths = await shown.locator("table").evaluate_all("all => all.map(each => each.scrollWidth)")
    assert [width for width in widths if width > 358] == []
    assert len(widths) == 2


async def test_mails_and_the_pages_behind_their_links_fit_and_are_legible(browser: Browser) -> None:
    items = [item(number, product_title=f"{LONG} {number}") for number in range(4)]
    buttons = [Button("Yes, send me mail"), Button("No", "/no")]
    pages = {
        "reminder": reminder_content(items, title=LONG).html,
        "reminder-done": reminder_content([], date(2026, 3, 20), to_registrant=False).html,
        "invitation": invitation_content().html,
        "data-request": compose_data_request(Letterhead(LONG, "#101010"), f"https://x.example/{LONG}").html,
        **{
            f"link-page-{colour}": link_page("Confirm your address?", LONG, f"#{colour}", buttons)
            for colour in ("2f6f5e", "ffe08a", "101010")
        },
    }
    assert await faults_of(browser, pages) == {}


async def test_mails_of_all_languages_fit_and_are_legible(browser: Browser) -> None:
    pages = {
        f"{language}-{name}": translated_mails(language)[number].html
        for language in Language
        for name, number in {"reminder": 0, "invitation": 3, "data-request": -1}.items()
    }
    assert await faults_of(browser, pages) == {}


async def test_mailbox_shows_a_mail_at_three_widths_and_in_the_dark(
    browser: Browser, mailbox: Mailbox, mailbox_server: tuple[str, FastAPI]
) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@b.example", "emma@example.com", "Hello"
    message.set_content("Hello")
    message.add_alternative(reminder_content([item(1)]).html, subtype="html")
    mailbox.add("a@b.example", ["emma@example.com"], message.as_bytes())
    page = await open_page(
        browser, mailbox_server[0], "#message:not([hidden])", viewport={"width": 1400, "height": 900}
    )
    received = await page.locator("#list span").last.inner_text()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z].* · a@b\.example", received)
    body = page.frame_locator("#html").locator("body")
    colours = []
    for view, width in (("Computer", 900), ("Tablet", 768), ("Phone", 390)):
        await page.get_by_role("button", name=view).click()
        assert (await body.evaluate("() => innerWidth")) >= width - 2
        for _ in "light", "dark":
            colours.append(await body.evaluate("body => getComputedStyle(body).backgroundColor"))
            await page.get_by_role("button", name="Dark").click()
    assert colours == ["rgb(243, 244, 244)", "rgb(22, 24, 26)"] * 3
    assert await find_faults(page) == []


@pytest.mark.parametrize(("server", "kind"), [("SMTP", "refuse"), ("Amazon SES", "bounce"), ("SendGrid", "complain")])
async def test_mailbox_page_sets_faults_of_the_mail_server_and_of_the_providers(
    browser: Browser, mailbox: Mailbox, mailbox_server: tuple[str, FastAPI], server: str, kind: str
) -> None:
    assert not mailbox.faults
    address, app = mailbox_server
    page = await open_page(browser, address, "#faults > *")
    await page.get_by_label("Faults of").select_option(server)
    await page.get_by_label("Address that the faults are for").fill("emma@example.com")
    if server != "SMTP":
        await page.get_by_label("events after").fill("60")
    button = page.locator("#faults").get_by_role("button", name=kind, exact=True)
    await button.click()
    await expect(button).to_have_attribute("aria-pressed", "true")
    active = {
        "SMTP": mailbox.faults,
        "Amazon SES": app.state.ses.faults,
        "SendGrid": app.state.sendgrid.faults,
    }
    [fault] = active.pop(server)
    assert (fault.kind, fault.address, getattr(fault, "seconds", 60)) == (kind, "emma@example.com", 60)
    assert not any(active.values())
    await button.click()
    await expect(button).to_have_attribute("aria-pressed", "false")


async def through(browser: Browser, client: httpx.AsyncClient, path: str, ready: str = "body") -> Page:
    """The API's page at this path; the browser asks the client instead of a server."""

    async def answer(route: Route) -> None:
        headers = {**route.request.headers, "host": "localhost:8000"}
        answered = await client.request(
            route.request.method, route.request.url, headers=headers, content=route.request.post_data_buffer
        )
        await route.fulfill(status=answered.status_code, headers=dict(answered.headers), body=answered.content)

    page = await browser.new_page()
    await page.route("**/*", answer)
    await page.goto(f"http://localhost:8000{path}")
    await page.locator(ready).first.wait_for()
    return page


async def test_page_of_a_registry_fits_and_is_legible(
    browser: Browser, guest: Shopper, emma: Shopper, demo: Demo
) -> None:
    slug = public_slug(demo)
    demo.execute(
        "UPDATE registry_items SET notes = %s, available = true,"
        " quantity_wanted = greatest(1, quantity_purchased + id %% 3)"
        " WHERE registry_id = (SELECT id FROM registries WHERE slug = %s)",
        [LONG, slug],
    )
    empty = await emma.create(title=LONG)
    pages = {name: (await guest.send("GET", f"/api/r/{name}")).text for name in (slug, empty, "none-such")}
    assert await faults_of(browser, pages) == {}


async def test_documentation_fits_and_is_legible(browser: Browser, client: httpx.AsyncClient) -> None:
    page = await through(browser, client, "/api/docs/ui", ".opblock")
    await page.locator("details, .info details").evaluate_all("all => all.forEach(each => { each.open = true })")
    await page.locator(".opblock-summary", has_text="Create a registry").click()
    await page.locator(".opblock", has_text="Create a registry").get_by_role("button", name="Execute").wait_for()
    faults = await find_faults(page)
    # Swagger UI's own badges and numbers have less contrast than they should.
    assert [fault for fault in faults if "contrast" not in fault or "dark: contrast 1." in fault] == []


async def test_forms_of_the_documentation_follow_the_registry_that_was_created(
    browser: Browser, client: httpx.AsyncClient, key: dict[str, str]
) -> None:
    page = await through(browser, client, "/api/docs/ui", ".opblock")
    await page.get_by_role("button", name="Authorize").first.click()
    login = page.locator(".auth-container").first
    await login.get_by_role("textbox").fill(key["X-API-Key"])
    await login.get_by_role("button", name="Apply credentials").click()
    await page.get_by_role("button", name="Close").first.click()

    async def execute(operation: str, status: str) -> Locator:
        block = page.locator(".opblock", has_text=operation)
        await block.get_by_text(operation).first.click()
        await block.get_by_role("button", name="Execute").click()
        await expect(block.locator(".live-responses-table").get_by_text(status, exact=True).first).to_be_visible()
        return block

    await execute("Create a registry", "201")
    read = await execute("Read one registry", "200")
    await expect(read.get_by_placeholder("ref")).to_have_value(re.compile("^emma-hugos-wedding-"))
    change = page.locator(".opblock", has_text="Change an item")
    await change.get_by_text("Change an item").first.click()
    item_id = change.get_by_placeholder("item_id")
    await expect(item_id).to_have_value("")  # the registry has none yet
    await change.get_by_text("Change an item").first.click()
    await execute("Add an item", "201")
    await execute("Change an item", "200")
    await expect(item_id).to_have_value(re.compile(r"^\d+$"))
    await execute("Change a registry", "200")
    remove = page.locator(".opblock", has_text="Delete a registry")
    await remove.get_by_text("Delete a registry").first.click()
    await expect(remove.get_by_placeholder("ref")).to_have_value("")
    await expect(page.locator(".info")).to_contain_text("A form that deletes has If-Match filled in")


@pytest.mark.parametrize(
    ("window", "loaded"),
    [("simulator", "#stock tr"), ("mailbox", "#faults > *"), ("monitoring", "#trouble:not([hidden])")],
)
async def test_pages_of_the_local_stack_fit_and_are_legible(
    browser: Browser,
    window: str,
    loaded: str,
    mailbox: Mailbox,
    simulator_server: tuple[str, FastAPI],
    mailbox_server: tuple[str, FastAPI],
) -> None:
    assert not mailbox.messages
    nowhere = "http://127.0.0.1:1"
    with served(create_monitoring(Addresses(nowhere, nowhere, nowhere))) as monitoring:
        address = {"simulator": simulator_server[0], "mailbox": mailbox_server[0], "monitoring": monitoring}[window]
        assert await find_faults(await open_page(browser, address, loaded)) == []
