"""A real Prometheus and Alertmanager with the local stack's configuration, and the page that draws the dashboard."""

import asyncio
import json
import os
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from playwright.async_api import Browser, expect

from deployments.local import monitoring
from deployments.local.services import MonitoringPorts
from deployments.monitoring.__main__ import main as set_up
from deployments.monitoring.configuration import MailServer, Scrape, write_configuration
from deployments.sandbox.mailbox.app import create_app as create_mailbox
from deployments.sandbox.mailbox.messages import Mailbox
from deployments.sandbox.monitoring.app import Addresses, create_app
from deployments.sandbox.monitoring.dashboard import read_dashboard
from deployments.sandbox.processes import free_port, running
from tests.support.alert_rules import DASHBOARD, MONITORING, RULES, queries
from tests.support.http_server import served
from tests.support.optional import skip_or_fail
from tests.support.waiting import block_until
from wishcraft.errors import ConfigurationError

RUNBOOKS: Final = "http://127.0.0.1:8000/runbooks"
EXPOSITION: Final = """\
# TYPE wishcraft_redis_up gauge
wishcraft_redis_up 1
# TYPE wishcraft_part_health gauge
wishcraft_part_health{part="database"} 1
wishcraft_part_health{part="prefect"} 0.5
# TYPE wishcraft_webhook_dead_letters gauge
wishcraft_webhook_dead_letters 3
# TYPE wishcraft_redis_memory_bytes gauge
wishcraft_redis_memory_bytes 4194304
# TYPE wishcraft_shop_entries gauge
wishcraft_shop_entries{shop="maple.myshopify.com"} 7
wishcraft_shop_entries{shop="yuzu.myshopify.com"} 5
"""
TOKEN: Final = "let-prometheus-in"


@dataclass
class Api:
    """An API that has only /metrics, and the tokens that it was sent."""

    tokens: set[str] = field(default_factory=set)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/metrics")
        def metrics() -> PlainTextResponse:
            return PlainTextResponse(EXPOSITION)

        @app.middleware("http")
        async def record_token(request: Any, call_next: Any) -> Any:
            self.tokens.add(request.headers.get("authorization", ""))
            return await call_next(request)

        return app


@dataclass(frozen=True)
class Servers:
    """A client of the page, the API that Prometheus scrapes, and the alerts at the first look."""

    page: httpx.Client
    api: Api
    first_alerts: set[str]


@pytest.fixture(scope="module")
def programs() -> None:
    """Prometheus, Alertmanager and their checkers."""
    missing = [name for name in ("prometheus", "promtool", "amtool") if shutil.which(name) is None]
    if missing or not any(map(shutil.which, monitoring.PROGRAMS["alertmanager"])):
        skip_or_fail("prometheus", f"Prometheus and Alertmanager are not installed: `{monitoring.INSTALL}`")


@contextmanager
def started(folder: Path, mailbox_port: int) -> Iterator[Servers]:
    """Both programs, which scrape an API every second, and the page over them."""
    api, ports = Api(), MonitoringPorts(free_port(), free_port(), 0)
    with ExitStack() as stack:
        address = stack.enter_context(served(api.app())).removeprefix("http://")
        token = folder / "token"
        token.write_text(TOKEN)
        mail = MailServer(f"smtp://127.0.0.1:{mailbox_port}", "registry@wishcraft.example", "ops@wishcraft.example")
        scrape = Scrape([address], f"127.0.0.1:{ports.alertmanager}", token, "1s")
        write_configuration(folder, scrape, mail, RUNBOOKS)
        hasten(folder)
        environment = dict(os.environ)
        for service in (
            monitoring.alertmanager(folder, environment, ports.alertmanager),
            monitoring.prometheus(folder, environment, ports.prometheus),
        ):
            name = service.program.name

            def is_ready(ready: Callable[[], Awaitable[bool]] = service.ready) -> bool:
                time.sleep(0.2)  # each question starts an event loop
                return asyncio.run(ready())  # type: ignore[arg-type]  # it is a coroutine

            stack.enter_context(running(service.program, is_ready, folder / f"{name}.log", 120))
        urls = [f"http://127.0.0.1:{port}" for port in (ports.prometheus, ports.alertmanager)]
        page = stack.enter_context(served(create_app(Addresses(urls[0], urls[1], RUNBOOKS))))
        client = stack.enter_context(httpx.Client(base_url=page, timeout=30))
        yield Servers(client, api, {each["name"] for each in client.get("/alerts").json()["alerts"]})


def hasten(folder: Path) -> None:
    """Send each second instead of every 30."""
    alertmanager = folder / "alertmanager.yaml"
    routed = json.loads(alertmanager.read_text())
    routed["route"]["group_wait"] = routed["route"]["routes"][0]["group_wait"] = "1s"
    alertmanager.write_text(json.dumps(routed))


@pytest.fixture(scope="module")
def mail_server() -> Iterator[FastAPI]:
    """A mail server of these tests alone: a fault that another test has set would refuse the letter for good."""
    app = create_mailbox()
    with served(app):
        yield app


@pytest.fixture(scope="module")
def servers(programs: None, tmp_path_factory: pytest.TempPathFactory, mail_server: FastAPI) -> Iterator[Servers]:
    """All servers, once Prometheus has scraped and evaluated."""
    assert programs is None
    with started(tmp_path_factory.mktemp("monitoring"), mail_server.state.smtp_port) as servers:
        block_until(lambda: firing(servers), "no alert fires", pause=0.2)
        # The points of a range are 15 s apart: the first one after the first scrape.
        block_until(lambda: series(servers, "Redis memory", seconds=60), "nothing to draw", pause=0.2)
        yield servers


def firing(servers: Servers) -> dict[str, Any]:
    alerts = servers.page.get("/alerts").raise_for_status().json()["alerts"]
    return {alert["name"]: alert for alert in alerts if alert["state"] == "firing"}


def series(servers: Servers, title: str, **options: Any) -> dict[str, list[float | None]]:
    """The series that the page draws in the panel with this title, by name."""
    number = next(panel["id"] for panel in DASHBOARD["panels"] if panel["title"] == title)
    found = servers.page.get(f"/panels/{number}", params=options).raise_for_status().json()["series"]
    return {each["name"]: each["points"] for each in found}


def found(look: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
    """The result now, or after the next scrapes: one that takes longer than a second finds nothing."""
    seen: dict[str, Any] = {}
    block_until(lambda: seen.update(look() or {}) or seen, "Prometheus has nothing", pause=0.2)
    return seen


def test_rules_fire_and_the_page_links_to_their_runbook(servers: Servers) -> None:
    alert = found(lambda: firing(servers).get("WebhookDeadLetters"))
    assert (alert["severity"], alert["summary"]) == ("ticket", "Webhooks failed for good (3)")
    assert alert["runbook"] == f"{RUNBOOKS}/webhooks.md"
    answer = servers.page.get("/alerts").json()
    assert (answer["rules"], answer["broken"]) == (len(RULES), [])


def test_api_is_not_down_at_the_first_look(servers: Servers) -> None:
    assert "ApiDown" not in servers.first_alerts


def test_alertmanager_sends_a_letter_with_the_runbook(servers: Servers, mail_server: FastAPI) -> None:
    mailbox: Mailbox = mail_server.state.mailbox

    def letters() -> list[dict[str, Any]]:
        return [each.details() for each in mailbox.messages if "failed for good" in each.summary()["subject"]]

    assert servers
    block_until(letters, "no letter", pause=0.2)
    letter = letters()[0]
    assert letter["subject"] == "[ticket] Webhooks failed for good (3)"
    assert letter["to"] == ["ops@wishcraft.example"]
    assert f"What to do: {RUNBOOKS}/webhooks.md" in letter["text"]


def test_panels_have_the_values_that_prometheus_scraped(servers: Servers) -> None:
    for title, values in (("API processes", {"API processes": [1]}), ("Prefect", {"Prefect": [0.5]})):
        block_until(lambda title=title, values=values: series(servers, title) == values, title, pause=0.2)  # type: ignore[misc]
    assert found(lambda: series(servers, "Health by part")).keys() == {"database", "prefect"}


def test_series_have_a_value_or_a_gap_at_every_point_of_the_range(servers: Servers) -> None:
    def used() -> list[float | None]:
        return series(servers, "Redis memory", seconds=900)["used"]

    block_until(lambda: used()[-1] == 4_194_304, "no value now", pause=0.2)
    assert len(used()) == 900 // 15 + 1
    assert used()[0] is None


def test_a_panel_can_be_narrowed_to_one_shop(servers: Servers) -> None:
    shops = servers.page.get("/shops").json()
    assert shops == ["maple.myshopify.com", "yuzu.myshopify.com"]
    block_until(lambda: any(series(servers, "Cache entries by shop", seconds=60).values()), pause=0.2)
    assert len(series(servers, "Cache entries by shop")) == 2
    assert list(series(servers, "Cache entries by shop", shop=shops[1])) == [f"{shops[1]}: registries"]
    assert not series(servers, "Cache entries by shop", shop='.*"} or vector(1')


def test_prometheus_accepts_the_query_of_every_panel(servers: Servers) -> None:
    drawn = [panel["id"] for row in servers.page.get("/dashboard").json()["rows"] for panel in row["panels"]]
    tables = [panel["id"] for panel in DASHBOARD["panels"] if panel["type"] == "table"]
    assert sorted(drawn + tables) == sorted(panel["id"] for panel in DASHBOARD["panels"] if panel["type"] != "row")
    for number in drawn:
        assert servers.page.get(f"/panels/{number}", params={"seconds": 86_400}).status_code == 200


def test_prometheus_sends_the_token_of_metrics(servers: Servers) -> None:
    assert servers.api.tokens == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize(("path", "status"), [("/panels/1", 404), ("/panels/2?seconds=1", 422), ("/app.js", 404)])
def test_unknown_panels_ranges_and_files_are_refused(servers: Servers, path: str, status: int) -> None:
    assert servers.page.get(path).status_code == status


def test_the_page_refuses_names_of_other_machines(servers: Servers) -> None:
    assert servers.page.get("/alerts", headers={"Host": "evil.example"}).status_code == 421


def test_the_page_says_that_prometheus_does_not_answer() -> None:
    silent = f"http://127.0.0.1:{free_port()}"
    with served(create_app(Addresses(silent, silent, RUNBOOKS))) as page:
        answer = httpx.get(f"{page}/panels/2")
    assert answer.status_code == 502
    assert "Prometheus does not answer" in answer.json()["detail"]


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.asyncio(loop_scope="session")
async def test_browser_draws_the_panels_of_the_dashboard(servers: Servers, browser: Browser, width: int) -> None:
    page = await browser.new_page(viewport={"width": width, "height": 900})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(str(servers.page.base_url))
    titles = [panel.title for row in read_dashboard(MONITORING / "dashboard.json").rows for panel in row.panels]
    await expect(page.locator("h3")).to_have_count(len(titles))
    await expect(page.locator("#alerts")).to_contain_text("WebhookDeadLetters")
    assert await page.locator("#alerts a").first.get_attribute("href") == f"{RUNBOOKS}/webhooks.md"
    await expect(page.get_by_role("article", name="API processes")).to_contain_text("1")
    await expect(page.get_by_role("article", name="Prefect", exact=True)).to_contain_text("degraded")
    await page.get_by_role("button", name="15 min").click()
    dead_letters = page.get_by_role("article", name="Dead letters of webhooks")
    await dead_letters.scroll_into_view_if_needed()
    await expect(dead_letters.get_by_role("img")).to_have_attribute(
        "aria-label", "Dead letters of webhooks: dead letters 3"
    )
    assert await page.evaluate("document.documentElement.scrollWidth") == width
    assert not errors


@pytest.mark.usefixtures("programs")
def test_promtool_accepts_the_rules_and_the_configuration(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    mail = MailServer("smtps://user:secret@mail.example", "a@b.example", "ops@b.example")
    write_configuration(tmp_path, Scrape(["api:8000"], "alertmanager:9093", token), mail, RUNBOOKS)
    for command in (
        ["promtool", "check", "config", str(tmp_path / "prometheus.yaml")],
        ["promtool", "check", "rules", str(MONITORING / "alerts.yaml")],
        ["amtool", "check-config", str(tmp_path / "alertmanager.yaml")],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  ours
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize(("has_prefect_alerts", "receiver"), [(False, "ops-once"), (True, "none")])
@pytest.mark.parametrize("alert", ["JobFailed", "JobCrashed"])
def test_failed_job_is_mailed_once(tmp_path: Path, alert: str, receiver: str, *, has_prefect_alerts: bool) -> None:
    mail = MailServer("smtp://mail.example", "a@b.example", "ops@b.example")
    scrape = Scrape(["api:8000"], "alertmanager:9093", None)
    write_configuration(tmp_path, scrape, mail, RUNBOOKS, has_prefect_alerts=has_prefect_alerts)
    command = ["amtool", "config", "routes", "test", f"--config.file={tmp_path / 'alertmanager.yaml'}"]
    done = subprocess.run(  # noqa: S603  ours
        [*command, f"alertname={alert}", "severity=ticket"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [receiver]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://127.0.0.1:2525", ("127.0.0.1:2525", False, None)),
        ("smtp://mail.example:587?starttls", ("mail.example:587", True, None)),
        ("smtp://us%40er:p%3Aw@mail.example", ("mail.example:25", True, "us@er")),
        ("smtps://mail.example", ("mail.example:465", False, None)),
    ],
)
def test_alertmanager_uses_the_mail_server_of_mail_url(url: str, expected: tuple[object, ...]) -> None:
    options = MailServer(url, "a@b.example", "ops@b.example").options()
    found = (options["smtp_smarthost"], options["smtp_require_tls"], options.get("smtp_auth_username"))
    assert found == expected


@pytest.mark.parametrize("url", ["http://mail.example", "smtps://mail.example:587", "smtp:"])
def test_a_mail_server_that_alertmanager_cannot_use_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        MailServer(url, "a@b.example", "ops@b.example").options()


def test_set_up_of_the_example_installation_writes_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["monitoring", str(tmp_path / "out")])
    for name in ("MAIL_URL", "MAIL_FROM", "OPS_EMAIL", "RUNBOOK_URL", "ALERT_WEBHOOK_URL"):
        monkeypatch.delenv(name, raising=False)
    assert set_up() == 1
    assert "set MAIL_URL, MAIL_FROM and OPS_EMAIL" in capsys.readouterr().err
    monkeypatch.setenv("MAIL_URL", "smtp://mail.example")
    monkeypatch.setenv("MAIL_FROM", "a@b.example")
    monkeypatch.setenv("OPS_EMAIL", "ops@b.example")
    monkeypatch.setenv("RUNBOOK_URL", 'https://docs.example/a"b$1')
    assert set_up() == 0
    scraping = json.loads((tmp_path / "out/prometheus.yaml").read_text())["scrape_configs"][0]
    assert scraping["static_configs"] == [{"targets": ["api:8000"]}]
    assert scraping["authorization"] == {"credentials_file": "/run/secrets/metrics_token"}
    text = (tmp_path / "out/alertmanager.yaml").read_text()
    emails = [email for each in json.loads(text)["receivers"] for email in each.get("email_configs", ())]
    assert {email["to"] for email in emails} == {"ops@b.example"}
    assert [email["send_resolved"] for email in emails] == [True, False]  # a failed run is not over later
    assert "RUNBOOK_URL" not in text
    assert "https://docs.example/a%22b%241" in text
    assert (tmp_path / "out/alertmanager.yaml").stat().st_mode & 0o777 == 0o600


def test_the_page_fills_grafanas_variables_as_the_other_tests_do() -> None:
    filled = {
        (panel.title, query.filled(None, 285).replace("300s", "5m"))
        for row in read_dashboard(MONITORING / "dashboard.json").rows
        for panel in row.panels
        for query in panel.queries
    }
    assert filled == {(title, query) for title, query in queries() if title != "Firing alerts"}


def test_grafana_is_provisioned_with_the_dashboard_and_the_compose_files_prometheus() -> None:
    grafana = yaml.safe_load((MONITORING.parent / "container/compose.yaml").read_text())["services"]["grafana"]
    mounted = {target: Path(source).name for source, target, _ in (each.split(":") for each in grafana["volumes"][1:])}
    [provider] = yaml.safe_load((MONITORING / "grafana/dashboards.yaml").read_text())["providers"]
    assert mounted[f"{provider['options']['path']}/dashboard.json"] == "dashboard.json"
    assert grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] in mounted
    [source] = yaml.safe_load((MONITORING / "grafana/datasources.yaml").read_text())["datasources"]
    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://prometheus:9090", True)
