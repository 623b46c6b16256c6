"""Prometheus, Alertmanager and the page of the dashboard, which `make up MONITORING=1` starts beside the stack."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import httpx

from deployments.local.services import MonitoringPorts, Ports, http_ready, module, service_of
from deployments.local.supervisor import Service
from deployments.local.workspace import Workspace
from deployments.monitoring.configuration import MailServer, Scrape, write_configuration
from deployments.sandbox.processes import Program, choose_port
from deployments.sandbox.secret_files import open_private
from wishcraft.errors import ConfigurationError

PROGRAMS: Final = {"prometheus": ("prometheus",), "alertmanager": ("prometheus-alertmanager", "alertmanager")}
"""Names of each program: Debian's and upstream's."""
INSTALL: Final = "apt-get install --no-install-recommends prometheus prometheus-alertmanager"
_RETENTION: Final = "15d"
_INTERVAL: Final = "5s"
"""Time between two scrapes, and two evaluations of the rules: a third of the usual one, for people who watch."""
_NEVER: Final = "0001-"
"""The year of the last evaluation of a rule that was not evaluated."""


def choose_monitoring_ports(workspace: Workspace, environment: Mapping[str, str]) -> MonitoringPorts | None:
    """The ports, or None unless MONITORING is `1`.

    Raises:
        ConfigurationError: MONITORING is something else, or a program is not installed.
    """
    wanted = environment.get("MONITORING", "0") or "0"
    if wanted not in {"0", "1"}:
        raise ConfigurationError(f"MONITORING must be 1 or 0, not {wanted!r}")
    if wanted == "0":
        return None
    for name in PROGRAMS:
        find_program(name)
    return MonitoringPorts(
        prometheus=choose_port("Prometheus", None, workspace.folder / "prometheus.port"),
        alertmanager=choose_port("Alertmanager", None, workspace.folder / "alertmanager.port"),
        page=choose_port("The monitoring page", None, workspace.folder / "monitoring.port"),
    )


def find_program(name: str) -> str:
    """The path of `prometheus` or `alertmanager`.

    Raises:
        ConfigurationError: It is not installed.
    """
    found = next(filter(None, map(shutil.which, PROGRAMS[name])), None)
    if found is None:
        raise ConfigurationError(
            f"MONITORING=1 needs {name}, which is not installed. On Debian or Ubuntu: `{INSTALL}`. "
            "Without MONITORING=1 everything else starts."
        )
    return found


def services(workspace: Workspace, environment: Mapping[str, str], ports: Ports) -> list[tuple[str, Service]]:
    """Write the configuration and return the services, each with its title for the terminal.

    `environment` is that of the stack's processes.
    """
    assert ports.monitoring is not None  # noqa: S101  callers ask
    folder = workspace.folder / "monitoring"
    mail = MailServer(f"smtp://127.0.0.1:{ports.smtp}", environment["MAIL_FROM"], environment["OPS_EMAIL"])
    alertmanager_address = f"127.0.0.1:{ports.monitoring.alertmanager}"
    scrape = Scrape([f"127.0.0.1:{ports.api}"], alertmanager_address, _write_token(folder, environment), _INTERVAL)
    write_configuration(folder, scrape, mail, environment["RUNBOOK_URL"], has_prefect_alerts=True)
    return [
        ("Alertmanager ready", alertmanager(folder, environment, ports.monitoring.alertmanager)),
        ("Prometheus ready", prometheus(folder, environment, ports.monitoring.prometheus)),
        ("Monitoring page ready", page(environment, ports.monitoring)),
    ]


def prometheus(folder: Path, environment: Mapping[str, str], port: int) -> Service:
    """Prometheus with the configuration in `folder`; its data are in `folder`, too.

    It is ready once it has found the API: until its first scrape, `ApiDown` is pending.
    """
    url = f"http://127.0.0.1:{port}"
    arguments = (
        f"--config.file={folder.absolute() / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder.absolute() / 'prometheus'}",
        f"--storage.tsdb.retention.time={_RETENTION}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--web.external-url={url}",
        "--log.level=warn",
    )
    program = Program("prometheus", (find_program("prometheus"), *arguments), cwd=folder, env=environment)
    return service_of(program, lambda: _has_found_api(url))


async def _has_found_api(url: str) -> bool:
    """Whether the Prometheus at `url` has evaluated `ApiDown`, and it is not even pending."""
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            groups = (await client.get(f"{url}/api/v1/rules")).raise_for_status().json()["data"]["groups"]
    except (httpx.HTTPError, ValueError):  # the latter: an answer that is not JSON
        return False
    rules = [each for group in groups for each in group["rules"] if each["name"] == "ApiDown"]
    return any(rule["state"] == "inactive" and not rule["lastEvaluation"].startswith(_NEVER) for rule in rules)


def alertmanager(folder: Path, environment: Mapping[str, str], port: int) -> Service:
    """Alertmanager with the configuration in `folder`; its data are in `folder`, too."""
    url = f"http://127.0.0.1:{port}"
    arguments = (
        f"--config.file={folder.absolute() / 'alertmanager.yaml'}",
        f"--storage.path={folder.absolute() / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--web.external-url={url}",
        "--cluster.listen-address=",  # there is only one
        "--log.level=warn",
    )
    program = Program("alertmanager", (find_program("alertmanager"), *arguments), cwd=folder, env=environment)
    return service_of(program, http_ready(f"{url}/-/ready"))


def page(environment: Mapping[str, str], ports: MonitoringPorts) -> Service:
    """The page that draws the dashboard."""
    options = {
        "--port": str(ports.page),
        "--prometheus": f"http://127.0.0.1:{ports.prometheus}",
        "--alertmanager": f"http://127.0.0.1:{ports.alertmanager}",
        "--runbooks": environment["RUNBOOK_URL"],
    }
    arguments = [text for option in options.items() for text in option]
    program = module("monitoring", environment, "deployments.sandbox.monitoring", *arguments)
    return service_of(program, http_ready(f"http://127.0.0.1:{ports.page}/health"))


def _write_token(folder: Path, environment: Mapping[str, str]) -> Path | None:
    """Write METRICS_TOKEN to a file for Prometheus; None if the stack has none, and /metrics asks for none."""
    token = environment.get("METRICS_TOKEN")
    if not token:
        return None
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / "metrics_token"
    file.unlink(missing_ok=True)
    with open(file, "x", opener=open_private) as new:
        new.write(token)
    return file.absolute()
