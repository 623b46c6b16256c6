"""The start page of the local stack: where it is served, and what it shows."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock
from urllib.parse import urljoin

import httpx
import pytest
from starlette.responses import JSONResponse

from api.routes.local_docs import DOCS
from api.routes.start_page import read_stack
from tests.support.aliases import Demo
from tests.support.api import app_state_of, called_from, public_slug
from tests.support.fake_prefect import FakePrefect
from tests.support.http_server import served
from wishcraft.services.health.upstreams import Growth
from wishcraft.settings import Settings

STACK: dict[str, Any] = {
    "api": "http://127.0.0.1:8000",
    "prefect_ui": "http://127.0.0.1:4200",
    "prefect_api": "http://127.0.0.1:4200/api",
    "prefect_password": "ops:let-me-in",
    "prefect_password_file": ".wishcraft/prefect_password",
    "shopify": "http://127.0.0.1:4400",
    "mailbox": "http://127.0.0.1:4500",
    "monitoring": None,
    "database_url": "postgresql://secret-db",
    "redis_url": "redis://secret-redis",
    "shopify_api_secret": "secret-of-the-app",
    "shops": [
        {"domain": "empty.myshopify.com", "api_key": "wc_0", "customer_id": None, "registries": []},
        {"domain": "maple.myshopify.com", "api_key": "wc_1", "customer_id": 71, "registries": ["<i>emma", "yui"]},
    ],
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The stack's file."""
    path = tmp_path / "board.json"
    path.write_text(json.dumps(STACK))
    return path


@pytest.fixture
async def local(
    settings: Settings,
    file: Path,
    demo: Demo,
    prefect: FakePrefect,
    prefect_settings: dict[str, object],
    open_client: Callable[[Settings], AbstractAsyncContextManager[httpx.AsyncClient]],
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the local stack's API, by a name of this machine."""
    async with open_client(settings.model_copy(update=prefect_settings | {"start_page": file})) as client:
        client.headers["Host"] = "localhost:8000"
        yield client


@pytest.mark.parametrize("path", ["/", "/start/live", "/runbooks/job-failed.md"])
async def test_there_is_no_start_page_without_the_setting(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path, headers={"Host": "localhost"})).status_code == 404


@pytest.mark.parametrize("path", ["/", "/start/live", "/runbooks/job-failed.md"])
async def test_there_is_no_start_page_in_production(
    settings: Settings,
    file: Path,
    open_client: Callable[[Settings], AbstractAsyncContextManager[httpx.AsyncClient]],
    path: str,
) -> None:
    production = settings.model_copy(update={"environment": "production", "start_page": file})
    async with open_client(production) as client:
        assert (await client.get(path, headers={"Host": "localhost"})).status_code == 404


@pytest.mark.parametrize("path", ["/", "/start/live"])
@pytest.mark.parametrize("host", ["attacker.example", "127.0.0.1.attacker.example", "10.0.0.1"])
async def test_start_page_refuses_names_that_are_not_of_this_machine(
    local: httpx.AsyncClient, path: str, host: str
) -> None:
    answer = await local.get(path, headers={"Host": host})
    assert (answer.status_code, answer.json()["type"]) == (421, "urn:wishcraft:problem:misdirected-request")


async def test_start_page_refuses_other_machines_that_know_its_name(local: httpx.AsyncClient) -> None:
    async with called_from(local, "10.0.0.7") as other:
        assert (await other.get("/", headers={"Host": "localhost"})).status_code == 421


async def test_start_page_refuses_scripts_of_other_pages(local: httpx.AsyncClient) -> None:
    for origin, status in (("https://attacker.example", 421), ("null", 421), ("http://localhost:8000", 200)):
        assert (await local.get("/", headers={"Origin": origin})).status_code == status


async def test_start_page_shows_demo_keys_and_links_and_no_password(local: httpx.AsyncClient) -> None:
    answer = await local.get("/")
    assert answer.status_code == 200
    assert "with your SELECT instead of the question in its form" in answer.text
    for shown in ("wc_1", ">71<", "http://127.0.0.1:4400/maple.myshopify.com/apps/registry/r/yui", "/api/docs/ui"):
        assert shown in answer.text
    for hidden in ("let-me-in", "secret", "empty.myshopify.com", "<i>"):
        assert hidden not in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


async def test_start_page_links_to_the_dashboard_only_while_it_runs(local: httpx.AsyncClient, file: Path) -> None:
    address = "http://127.0.0.1:4600"
    assert ">Monitoring<" not in (await local.get("/")).text
    await asyncio.to_thread(file.write_text, json.dumps(STACK | {"monitoring": address}))
    assert f'href="{address}/">Monitoring<' in (await local.get("/")).text


async def test_pictures_of_the_docs_are_shown_and_no_other_files(local: httpx.AsyncClient) -> None:
    page = (await local.get("/analysts.md")).raise_for_status()
    assert 'src="pictures/ask.png"' in page.text
    assert "img { max-width: 100% }" in page.text  # they are wider than a phone
    assert "img-src 'self'" in page.headers["content-security-policy"]
    picture = await local.get("/pictures/ask.png")
    assert (picture.headers["content-type"], picture.content[1:4]) == ("image/png", b"PNG")
    for path in ("/pictures/none.png", "/pictures/..%2F..%2Fdeployments%2Fx.png", "/pictures/%00.png"):
        assert (await local.get(path)).status_code == 404


async def test_start_page_shows_runs_and_health_in_words(local: httpx.AsyncClient, prefect: FakePrefect) -> None:
    prefect.runs = [("cache-warm", "RUNNING"), ("send-reminders", "FAILED")]
    text = (await local.get("/start/live")).text
    assert "failed within an hour: send-reminders (1)" in text
    running, _, ended = text.partition("Running now")[2].replace("send-reminders (1)", "").partition("Last runs")
    assert ("cache-warm" in running, "send-reminders" in running) == (True, False)
    assert ("cache-warm" in ended, "send-reminders" in ended) == (False, True)
    assert "broken &lt;b&gt;" in ended


async def test_start_page_is_not_green_while_the_last_run_of_a_job_failed(
    local: httpx.AsyncClient, prefect: FakePrefect
) -> None:
    prefect.runs = [*[("cache-warm", "COMPLETED")] * 8, ("send-reminders", "FAILED")]
    verdict = (await local.get("/start/live")).text.partition("</p>")[0]
    assert 'class="verdict degraded"' in verdict
    assert "not everything is well" in verdict
    assert re.search(r"The last run of <a [^>]*>send-reminders</a> failed.*/runbooks/job-failed.md", verdict)
    prefect.runs = [("send-reminders", "COMPLETED"), *prefect.runs]
    verdict = (await local.get("/start/live")).text.partition("</p>")[0]
    assert 'class="verdict healthy"' in verdict
    assert "Everything answers. Some of the last runs failed." in verdict


async def test_start_page_names_jobs_whose_schedule_is_paused(local: httpx.AsyncClient, prefect: FakePrefect) -> None:
    assert "Paused:" not in (await local.get("/start/live")).text
    prefect.paused = ["send-reminders"]
    text = (await local.get("/start/live")).text
    assert re.search(r'Paused: <a href="[^"]*/v2/deployments/deployment/2">send-reminders</a>\. These do not run', text)


async def test_start_page_is_not_green_while_shops_are_in_trouble_or_an_alert_fires(
    local: httpx.AsyncClient, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = app_state_of(local)
    assert 'class="verdict healthy"' in (await local.get("/start/live")).text
    failed = Growth(600, {("shopify_failed_total", "maple.myshopify.com"): 24})
    monkeypatch.setattr(state.health_monitor._upstreams, "get_within", AsyncMock(return_value=failed))
    state.resources.counters.set("mail_paused", 1, shop="sakura.myshopify.com")
    await state.resources.counters.flush()
    firing = {"alerts": [{"state": "firing"}, {"state": "pending"}]}
    with served(JSONResponse(firing)) as url:
        await asyncio.to_thread(file.write_text, json.dumps(STACK | {"monitoring": url}))
        text = (await local.get("/start/live")).text
    assert 'class="verdict degraded"' in text
    for shown in (
        "Shopify did not answer requests of maple.myshopify.com in the last ten minutes.",
        "Complaints pause the mail of sakura.myshopify.com.",
        ">1 alert fires.</a>",
    ):
        assert shown in text
    assert text.count('<dt><span class="dot degraded">') == 2


async def test_start_page_links_each_trouble_with_shopify_to_its_own_runbook(
    local: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults: dict[tuple[str, ...], float] = {
        **{("shopify_requests_total", f"{shop}.example"): 9 for shop in ("away", "busy", "closed")},
        ("shopify_failed_total", "away.example"): 3,
        ("shopify_throttled_total", "busy.example"): 4,
        ("shopify_throttled_total", "closed.example"): 1,
        ("shopify_forbidden_total", "closed.example"): 5,
    }
    monkeypatch.setattr(
        app_state_of(local).health_monitor._upstreams, "get_within", AsyncMock(return_value=Growth(600, faults))
    )
    text = (await local.get("/start/live")).text
    for sentence, page in (
        ("did not answer requests of away.example", "job-failed"),
        ("throttled requests of busy.example", "shopify-throttling"),
        ("forbade requests of closed.example", "shopify-forbidden"),
    ):
        assert f'Shopify {sentence} in the last ten minutes. <a href="/runbooks/{page}.md">' in text
        (await local.get(f"/runbooks/{page}.md")).raise_for_status()


async def test_start_page_says_that_prefect_does_not_answer(local: httpx.AsyncClient, prefect: FakePrefect) -> None:
    prefect.failing = True
    text = (await local.get("/")).text
    assert "Prefect does not answer: its jobs are not known." in text


@pytest.mark.parametrize("content", [None, "", '{"half'])
def test_file_of_a_stack_that_is_not_ready_is_nothing_to_show(file: Path, content: str | None) -> None:
    file.unlink() if content is None else file.write_text(content)
    assert read_stack(file) is None


async def test_start_page_waits_for_a_stack_that_is_not_ready(local: httpx.AsyncClient, file: Path) -> None:
    file.rename(file.with_name("moved.json"))  # noqa: ASYNC240  it takes no time
    answer = await local.get("/")
    assert answer.status_code == 200
    assert "The stack starts its processes" in answer.text


async def test_login_of_prefect_is_in_a_file_or_in_the_variable(local: httpx.AsyncClient, file: Path) -> None:
    assert "cat .wishcraft/prefect_password" in (await local.get("/")).text
    await asyncio.to_thread(file.write_text, json.dumps(STACK | {"prefect_password_file": None}))
    page = (await local.get("/")).text
    assert "<code>PREFECT_API_AUTH_STRING</code>" in page
    assert "prefect_password" not in page


async def test_runbook_of_an_alert_opens_with_the_pages_that_it_links_to(local: httpx.AsyncClient) -> None:
    page = (await local.get("/runbooks/job-failed.md")).raise_for_status()
    assert "<title>A job failed</title>" in page.text
    linked = re.findall(r'<a href="([^"#]+)', page.text)
    assert {"/", "/runbooks/README.md", "job-stale.md"} <= set(linked)
    for link in linked:
        (await local.get(urljoin("/runbooks/job-failed.md", link))).raise_for_status()


async def test_anchors_and_files_that_pages_link_to_are_there(local: httpx.AsyncClient) -> None:
    seen: dict[str, str] = {}

    async def read(path: str) -> str:
        if path not in seen:
            seen[path] = (await local.get(path, follow_redirects=True)).raise_for_status().text
        return seen[path]

    for path in [*(f"/{page.relative_to(DOCS)}" for page in DOCS.rglob("*.md")), "/CONTRIBUTING.md", "/CHANGELOG.md"]:
        for link in re.findall(r'href="([^":]+)"', await read(path)):
            target, _, anchor = urljoin(path, link).partition("#")
            text = await read(target)
            assert not anchor or f'id="{anchor}"' in text, (path, link)


async def test_all_docs_are_listed_and_open_by_their_path_in_the_checkout_too(local: httpx.AsyncClient) -> None:
    listed = re.findall(r'<li><a href="([^"]+)">([^<]+)<', (await local.get("/docs")).raise_for_status().text)
    pages = [f"/{page.relative_to(DOCS)}" for each in ("*.md", "decisions/*.md") for page in DOCS.glob(each)]
    assert sorted(path for path, _ in listed) == sorted(
        [*pages, "/runbooks/README.md", "/CHANGELOG.md", "/CONTRIBUTING.md"]
    )
    assert ("/analysts.md", "For analysts") in listed
    for path, _ in listed:
        (await local.get(path)).raise_for_status()
    moved = await local.get("/docs/runbooks/job-failed.md")
    assert moved.headers["location"] == "/runbooks/job-failed.md"
    assert (await local.get("/docs/runbooks/job-failed")).headers["location"] == "/runbooks/job-failed.md"
    assert 'href="/docs"' in (await local.get("/")).text


@pytest.mark.parametrize(
    "path",
    [
        "/docs/none.md",
        "/docs/nope",
        "/docs/nope/nope",
        "/docs/../README.md",
        "/docs//etc/a.md",
        "/runbooks/none.md",
        "/../README.md",
        "/%2e%2e/README.md",
        "/..%2fREADME.md",
        "/a%00.md",
        "//etc/a.md",
        f"/docs/{DOCS}/analysts.md",
        f"/{'a' * 300}.md",
        f"/docs/{'a' * 300}.md",
        f"/pictures/{'a' * 300}.png",
    ],
)
async def test_there_are_no_pages_outside_the_docs(local: httpx.AsyncClient, path: str) -> None:
    answer = await local.get(path)
    assert answer.status_code == 404
    if path.startswith("/docs/") and ".." not in path:
        assert answer.json()["detail"] == "There is no such page in the docs. /docs has all pages."


async def test_docs_refuse_names_that_are_not_of_this_machine(local: httpx.AsyncClient) -> None:
    local.headers["Host"] = "shop.example"
    assert (await local.get("/runbooks/job-failed.md")).status_code == 421


async def test_no_page_for_people_lets_the_browser_ask_for_an_icon(
    local: httpx.AsyncClient, demo: Demo, key: dict[str, str]
) -> None:
    public = f"/api/r/{public_slug(demo)}"
    for path in ("/", "/docs", "/runbooks/job-failed.md", "/app", "/api/unsubscribe/x", "/api/invitations/x", public):
        page = await local.get(path, headers=key)
        assert page.headers["content-type"].startswith("text/html"), path
        assert page.text.count('<link rel="icon" href="data:,">') == 1, path
        policy = page.headers["content-security-policy"]
        assert "img-src" not in policy or "data:" in policy.partition("img-src")[2].partition(";")[0], path
        assert "img-src" in policy or "default-src" not in policy, path
