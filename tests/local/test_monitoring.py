"""What `make up MONITORING=1` starts, and what it says if it cannot."""

import asyncio
import json
from pathlib import Path

import pytest

from deployments.local import monitoring
from deployments.local.services import MonitoringPorts, Ports
from deployments.local.workspace import Workspace
from tests.support.connections import listening
from wishcraft.errors import ConfigurationError


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for programs, the only one of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def install(folder: Path, name: str) -> None:
    (folder / name).touch(mode=0o755)


def test_nothing_is_monitored_by_default(installed: Path, tmp_path: Path) -> None:
    assert not list(installed.iterdir())
    assert monitoring.choose_monitoring_ports(Workspace(tmp_path), {}) is None
    assert monitoring.choose_monitoring_ports(Workspace(tmp_path), {"MONITORING": "0"}) is None


def test_missing_programs_are_named_with_the_command_that_installs_them(installed: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"needs prometheus, which is not installed.*apt-get install"):
        monitoring.choose_monitoring_ports(Workspace(tmp_path), {"MONITORING": "1"})
    install(installed, "prometheus")
    with pytest.raises(ConfigurationError, match=r"needs alertmanager, which is not installed.*apt-get install"):
        monitoring.choose_monitoring_ports(Workspace(tmp_path), {"MONITORING": "1"})


@pytest.mark.parametrize("name", ["prometheus-alertmanager", "alertmanager"])
def test_alertmanager_is_found_by_either_name(installed: Path, tmp_path: Path, name: str) -> None:
    install(installed, "prometheus")
    install(installed, name)
    ports = monitoring.choose_monitoring_ports(Workspace(tmp_path), {"MONITORING": "1"})
    assert ports is not None
    assert ports == monitoring.choose_monitoring_ports(Workspace(tmp_path), {"MONITORING": "1"})


def test_another_value_of_the_variable_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="MONITORING must be 1 or 0, not 'yes'"):
        monitoring.choose_monitoring_ports(Workspace(tmp_path), {"MONITORING": "yes"})


@pytest.mark.parametrize("token", ["secret", ""])
def test_servers_listen_on_loopback_and_keep_their_data_in_the_workspace(
    installed: Path, tmp_path: Path, token: str
) -> None:
    install(installed, "prometheus")
    install(installed, "alertmanager")
    environment = {
        "MAIL_FROM": "a@b.example",
        "OPS_EMAIL": "ops@b.example",
        "RUNBOOK_URL": "http://127.0.0.1:8000/runbooks",
        "METRICS_TOKEN": token,
    }
    ports = Ports(8000, 2, 3, 4, 5, 6, 7, MonitoringPorts(prometheus=7, alertmanager=8, page=9))
    started = [service for _, service in monitoring.services(Workspace(tmp_path), environment, ports)]
    options = " ".join(word for service in started for word in service.program.argv)
    assert "--web.listen-address=127.0.0.1:7" in options
    assert "--web.listen-address=127.0.0.1:8" in options
    assert f"--storage.tsdb.path={tmp_path}/monitoring/prometheus" in options
    assert f"--storage.path={tmp_path}/monitoring/alertmanager" in options
    file = tmp_path / "monitoring/metrics_token"
    assert file.exists() is bool(token)
    assert not token or (file.read_text(), file.stat().st_mode & 0o777) == (token, 0o600)


@pytest.mark.parametrize(
    ("rules", "is_ready"),
    [
        ([("ApiDown", "inactive", "2026-03-14T10:00:07Z")], True),
        ([("ApiDown", "pending", "2026-03-14T10:00:07Z")], False),
        ([("ApiDown", "inactive", "0001-01-01T00:00:00Z")], False),
        ([("JobStale", "inactive", "2026-03-14T10:00:07Z")], False),
        ([], False),
        (None, False),
    ],
)
async def test_prometheus_is_ready_once_it_has_found_the_api(
    installed: Path, tmp_path: Path, rules: list[tuple[str, str, str]] | None, is_ready: bool
) -> None:
    install(installed, "prometheus")
    shown = [dict(zip(("name", "state", "lastEvaluation"), rule, strict=True)) for rule in rules or ()]
    body = b"<p>" if rules is None else json.dumps({"data": {"groups": [{"rules": shown}]}}).encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async with listening(answer) as port:
        assert await monitoring.prometheus(tmp_path, {}, port).ready() is is_ready
