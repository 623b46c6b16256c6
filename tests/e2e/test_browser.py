"""First steps of a user in the browser: deployments, a run from its form, its table, the API's page."""

import re
import time
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import log_in, new_page

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]  # the first test may have to start the stack
RUN_SECONDS = 300
"""A deadline that a run also keeps which waits for a scheduled one, on a machine that is busy with other tests."""


def open_deployment(page: Page, stack: dict[str, Any], name: str) -> None:
    page.goto(f"{stack['prefect_ui']}/deployments")  # ten to a page
    page.get_by_placeholder("Search deployments").fill(name)
    page.get_by_role("link", name=name).first.click()


def test_prefect_ui_asks_once_for_the_password(browser: Browser, stack: dict[str, Any]) -> None:
    page = new_page(browser)
    page.goto(f"{stack['prefect_ui']}/deployments")
    page.get_by_placeholder("admin:pass").fill("ops:guessed")
    page.get_by_role("button", name="Login").click()
    expect(page.get_by_text("Authentication failed").first).to_be_visible()
    expect(page.get_by_role("link", name="cache-warm")).to_have_count(0)
    log_in(page, stack)
    page.reload()
    expect(page.get_by_role("link", name="cache-warm").first).to_be_visible()
    page.context.close()


def test_link_to_a_job_leads_through_the_login(browser: Browser, stack: dict[str, Any]) -> None:
    page = new_page(browser)
    page.goto(stack["start_page"])
    page.get_by_role("link", name="sync-inventory").last.click()
    page.get_by_placeholder("admin:pass").fill(stack["prefect_password"])
    page.get_by_role("button", name="Login").click()
    expect(page.get_by_text("Every 15 minutes").first).to_be_visible()
    page.context.close()


def test_prefect_ui_shows_deployments_and_their_next_run(page: Page, stack: dict[str, Any]) -> None:
    page.goto(f"{stack['prefect_ui']}/deployments")
    for name in ("cache-warm", "conversion-report"):
        expect(page.get_by_role("link", name=name).first).to_be_visible()
    open_deployment(page, stack, "sync-inventory")
    expect(page.get_by_text("Next Run")).to_be_visible()
    expect(page.get_by_text("Every 15 minutes")).to_be_visible()


def test_run_started_from_the_form_completes_with_a_table(page: Page, stack: dict[str, Any]) -> None:
    open_deployment(page, stack, "sync-inventory")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").click()
    expect(page.get_by_text("Count the changes; write nothing.")).to_be_visible()  # the parameter's description
    name = page.get_by_role("textbox").first.input_value()  # the run's name; its label is not associated with it
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url(re.compile(r"/deployments/deployment/[0-9a-f-]+(\?.*)?$"))
    # The page lists a new run only after its next refresh, up to 30 s later.
    query = {"flow_runs": {"name": {"any_": [name]}}}
    [run] = page.request.post(f"{stack['prefect_api']}/flow_runs/filter", data=query).json()
    page.goto(f"{stack['prefect_ui']}/runs/flow-run/{run['id']}")
    wait_until_completed(page, stack, run["id"])
    expect(page.get_by_text("Completed").first).to_be_visible()
    page.get_by_text("Artifacts", exact=True).click()
    page.locator("a[href*='/artifacts/']").first.click()
    short_name = stack["shops"][0]["domain"].removesuffix(".myshopify.com")
    expect(page.get_by_text(short_name).first).to_be_visible()


def run_deployment(page: Page, stack: dict[str, Any], deployment: str, **parameters: object) -> str:
    """Run the deployment and wait for its end; the id of the run."""
    named = {"deployments": {"name": {"any_": [deployment]}}}
    [found] = page.request.post(f"{stack['prefect_api']}/deployments/filter", data=named).json()
    url = f"{stack['prefect_api']}/deployments/{found['id']}/create_flow_run"
    run = page.request.post(url, data={"parameters": parameters}).json()
    wait_until_completed(page, stack, run["id"])
    return str(run["id"])


def wait_until_completed(page: Page, stack: dict[str, Any], run: str) -> None:
    """Wait for the state of the run itself: its page and its logs say of each task too that it is completed."""
    deadline = time.monotonic() + RUN_SECONDS
    while (state := page.request.get(f"{stack['prefect_api']}/flow_runs/{run}").json()["state"])["type"] != "COMPLETED":
        assert state["type"] in {"SCHEDULED", "PENDING", "RUNNING"}, state
        assert time.monotonic() < deadline, state
        page.wait_for_timeout(250)


def artifacts_of(page: Page, stack: dict[str, Any], run: str, kind: str) -> list[str]:
    """The pages of the run's artifacts of a kind."""
    query = {"artifacts": {"flow_run_id": {"any_": [run]}, "type": {"any_": [kind]}}}
    found = page.request.post(f"{stack['prefect_api']}/artifacts/filter", data=query).json()
    return [f"{stack['prefect_ui']}/v2/artifacts/artifact/{each['id']}" for each in found]


def open_summary(page: Page, stack: dict[str, Any], deployment: str, **parameters: object) -> None:
    """Run the deployment, wait for its end, and open its summary."""
    [summary] = artifacts_of(page, stack, run_deployment(page, stack, deployment, **parameters), "markdown")
    page.goto(summary)


@pytest.mark.parametrize("deployment", ["registry-report", "conversion-report", "demand-forecast", "sync-inventory"])
def test_tables_of_a_run_fit_their_box(page: Page, stack: dict[str, Any], deployment: str) -> None:
    for table in artifacts_of(page, stack, run_deployment(page, stack, deployment), "table"):
        page.goto(table)
        expect(page.locator("table tbody tr").first).to_be_visible()
        page.evaluate("document.fonts.ready.then(() => true)")
        overflow = page.locator("table").evaluate("table => table.scrollWidth - table.parentElement.clientWidth")
        assert overflow <= 1, table


def open_swagger_ui(page: Page, stack: dict[str, Any]) -> None:
    """Open Swagger UI without a key, which it keeps from another test."""
    page.goto(f"{stack['api']}/api/docs/ui")
    page.evaluate("localStorage.clear()")
    page.reload()


def test_refused_write_is_readable_in_swagger_ui(page: Page, stack: dict[str, Any]) -> None:
    open_swagger_ui(page, stack)
    creating = page.locator(".opblock", has_text="Create a registry")
    creating.get_by_text("Create a registry").click()
    creating.get_by_role("button", name="Execute").click()
    answer = creating.locator(".live-responses-table")
    expect(answer.get_by_text("401", exact=True).first).to_be_visible()
    expect(answer.get_by_text("urn:wishcraft:problem:unauthorized").first).to_be_visible()


@pytest.mark.parametrize("deployment", ["daily-report", "weekly-report", "monthly-report", "service-levels"])
def test_tables_on_a_maintenance_report_fit_a_phone(page: Page, stack: dict[str, Any], deployment: str) -> None:
    open_summary(page, stack, deployment)
    page.set_viewport_size({"width": 390, "height": 1000})
    expect(page.locator("[data-testid=markdown-display]")).to_be_visible()
    page.evaluate("document.fonts.ready.then(() => true)")
    wide = (
        "all => all.filter(each => each.scrollWidth > each.parentElement.clientWidth + 1).map(each => each.innerText)"
    )
    assert page.locator("[data-testid=markdown-display] table").evaluate_all(wide) == []


@pytest.mark.parametrize("width", [1400, 390])
def test_report_opens_from_its_run_and_fits_the_window(page: Page, stack: dict[str, Any], width: int) -> None:
    open_summary(page, stack, "registry-report")
    page.set_viewport_size({"width": width, "height": 1000})
    expect(page.get_by_role("heading", name="What sells")).to_be_visible()
    wide = (
        "all => all.filter(each => each.scrollWidth > each.parentElement.clientWidth + 1).map(each => each.innerText)"
    )
    assert page.locator("[data-testid=markdown-display] table").evaluate_all(wide) == []
    page.get_by_role("link", name="open the page").click()
    expect(page.get_by_role("heading", name="What sells")).to_be_visible()
    assert page.locator("img").first.evaluate("picture => picture.decode().then(() => picture.naturalWidth)") >= 720
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.go_back()
    with page.expect_download() as download:
        page.get_by_role("link", name="save it").click()
    assert download.value.suggested_filename.startswith("registry-report-")


def test_dry_backfill_leads_to_the_form_that_runs_it_in_earnest(page: Page, stack: dict[str, Any]) -> None:
    shop = stack["shops"][0]["domain"]
    open_summary(page, stack, "backfill", job="cache-warm", shops=[shop], force=True)
    page.get_by_role("link", name="Run it in earnest").click()
    expect(page.get_by_text("For cache-warm: write every entry again")).to_be_visible()
    expect(page.get_by_role("textbox").filter(has_text=shop)).to_be_visible()
    switches = page.get_by_role("switch")
    on = [switches.nth(place).get_attribute("aria-checked") == "true" for place in range(5)]
    assert on == [True, True, False, False, False]  # force, repair, mail, dry_run, again


def test_start_page_leads_to_a_registry_and_copies_a_key(browser: Browser, stack: dict[str, Any]) -> None:
    page = new_page(browser)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(stack["start_page"])
    expect(page.get_by_text("Last runs")).to_be_visible()
    expect(page.locator("#live").get_by_role("link").first).to_be_visible()  # of a job; which ran last depends
    page.locator("dd", has_text=stack["shops"][0]["api_key"]).get_by_role("button", name="Copy").click()
    assert page.evaluate("navigator.clipboard.readText()") == stack["shops"][0]["api_key"]
    for width in (1400, 390):
        page.set_viewport_size({"width": width, "height": 1000})
        assert page.evaluate("document.documentElement.scrollWidth") == width
    page.get_by_role("link", name="as its guests see it").click()
    expect(page.get_by_text("given").first).to_be_visible()
    page.context.close()


def test_swagger_ui_reads_and_creates_a_registry(page: Page, stack: dict[str, Any]) -> None:
    open_swagger_ui(page, stack)
    page.get_by_role("button", name="Authorize").first.click()
    expect(page.locator(".auth-container").first).to_contain_text("X-API-Key")
    expect(page.locator(".auth-container").first.get_by_role("textbox")).to_be_focused()
    page.locator(".auth-container").first.get_by_role("textbox").fill(stack["shops"][0]["api_key"])
    page.get_by_role("button", name="Apply credentials").first.click()
    page.get_by_role("button", name="Close").first.click()

    reading = page.locator(".opblock", has_text="Read one registry")
    reading.get_by_text("Read one registry").click()
    reading.get_by_placeholder("ref").fill(stack["shops"][0]["registries"][0])
    reading.get_by_role("button", name="Execute").click()
    answer = reading.locator(".live-responses-table")
    expect(answer.get_by_text("200", exact=True).first).to_be_visible()
    expect(answer.get_by_text('"progress"').first).to_be_visible()

    creating = page.locator(".opblock", has_text="Create a registry")
    creating.get_by_text("Create a registry").click()
    creating.get_by_role("button", name="Execute").click()  # all as offered
    answer = creating.locator(".live-responses-table")
    expect(answer.get_by_text("201", exact=True).first).to_be_visible()
    expect(answer.get_by_text("emma-hugos-wedding-").first).to_be_visible()


def test_mailbox_opens_letters_without_html_as_text(browser: Browser, stack: dict[str, Any]) -> None:
    page = new_page(browser)
    page.request.post(f"{stack['mailbox']}/alerts", data={"text": "A letter in plain text\nwith a second line"})
    page.goto(stack["mailbox"])
    page.get_by_role("button", name="A letter in plain text").first.click()
    expect(page.locator("#text")).to_contain_text("with a second line")
    expect(page.locator("#html")).to_be_hidden()
    page.context.close()


def set_slider(page: Page, position: str) -> None:
    with page.expect_response(lambda response: response.request.method == "PUT"):
        page.get_by_label("What guests do:").fill(position)


def test_simulator_page_shows_webhooks_and_sets_the_pace_of_guests(browser: Browser, stack: dict[str, Any]) -> None:
    page = new_page(browser)
    page.goto(stack["shopify"])
    slider = page.get_by_label("What guests do:")
    before = slider.input_value()
    set_slider(page, "60")
    expect(page.locator("output")).to_contain_text("things a minute")
    page.reload()
    expect(slider).to_have_value("60")  # the simulator keeps it
    page.get_by_role("button", name="Flood").click()
    expect(page.locator("#deliveries").get_by_text("accepted").first).to_be_visible()
    expect(page.locator("#actions").get_by_text("order #").first).to_be_visible()
    set_slider(page, before)
    page.get_by_label("Search products").fill("sage blanket")
    price = page.get_by_label("Price of Classic Cotton Baby Blanket Sage")
    kept = price.input_value()
    price.fill("-1")
    price.press("Enter")
    expect(page.locator("#refused")).to_contain_text("a price is a number such as 12.50")
    with page.expect_response(lambda response: response.request.method == "PATCH"):
        price.fill(kept)
        price.press("Enter")
        price.fill("1.25")
        price.press("Enter")
    expect(price).to_have_value("1.25")
    fault = page.locator("#faults").get_by_role("button", name="malformed")
    fault.click()
    expect(fault).to_contain_text("On")
    fault.click()
    expect(fault).to_contain_text("Off")
    for width in (1400, 390):
        page.set_viewport_size({"width": width, "height": 1000})
        assert page.evaluate("document.documentElement.scrollWidth") == width
    page.context.close()
