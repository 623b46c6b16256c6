"""The container image and the example installation: confinement, secrets, and settings that exist."""

import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final, TypeVar

import prefect.settings
import pytest
import yaml
from prefect.settings.legacy import _get_valid_setting_names

import deployments.webhooks
from deployments.container.__main__ import with_prefect_secrets
from deployments.container.make_secrets import make_secrets
from deployments.local.environment import PREFECT
from deployments.sandbox.processes import ROOT
from tests.support.container_image import FOLDER, OURS, SERVICES, image_environment, instructions, seconds
from wishcraft.services.operations.production_settings import find_misconfigurations
from wishcraft.settings import DatabaseSettings, Settings

DECLARED: Final = set(yaml.safe_load((FOLDER / "compose.yaml").read_text())["secrets"])
BY_HAND: Final = {"shopify_api_secret": "hush", "mail_url": "smtps://mail.example"}
SECRET_SETTINGS: Final = {
    name.upper() for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)
} | {"DATABASE_URL"}
OTHERS: Final = {"POSTGRES_PASSWORD_FILE", "HOME", "MPLCONFIGDIR", "DO_NOT_TRACK", "PYTHONDONTWRITEBYTECODE",
                 "PYTHONUNBUFFERED", "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES", "GF_ANALYTICS_CHECK_FOR_UPDATES",
                 "GF_ANALYTICS_REPORTING_ENABLED", "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH", "GF_LOG_MODE",
                 "GF_SECURITY_ADMIN_PASSWORD__FILE", "GF_SERVER_ROOT_URL"}  # fmt: skip
every_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
our_services = pytest.mark.parametrize("service", OURS.values(), ids=OURS)
PLACEHOLDER: Final = re.compile(r"\$\{(?P<name>\w+):(?:-(?P<default>[^}]*)|\?[^}]*)\}")
GIVEN: Final = {
    "SHOPIFY_API_KEY": "id", "PUBLIC_URL": "https://registry.example", "MAIL_FROM": "registry@mail.example",
}  # fmt: skip
"""Variables that the operator sets and Compose fills in."""
Kind = TypeVar("Kind", bound=DatabaseSettings)
GRACEFUL_SECONDS: Final = 10  # of `api.server`


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """The secrets of an installation: generated and added by hand."""
    folder = tmp_path / "secrets"
    make_secrets(folder)
    for name, content in BY_HAND.items():
        (folder / name).write_text(content)
    return folder


@every_service
def test_every_service_is_confined_and_runs_without_root(service: dict[str, Any]) -> None:
    user, group = map(int, service["user"].split(":"))
    assert user > 0 < group
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"] > 0
    assert service["mem_limit"]
    assert any(mount.startswith("/tmp") for mount in service["tmpfs"])  # noqa: S108  the container's own


def test_image_runs_as_nobody_and_writes_only_to_its_temporary_folder() -> None:
    assert instructions("USER") == ["65534:65534"]
    folders = {value for value in image_environment().values() if value.startswith("/")}
    assert len(folders) == 4
    assert all(folder == "/tmp" or folder.startswith("/tmp/") for folder in folders)  # noqa: S108  the image's own


def test_every_image_has_a_version_tag() -> None:
    images = [service["image"] for service in SERVICES.values()]
    images += [line.split()[0] for line in instructions("FROM")]
    tags = [image.partition(":")[2] for image in images]
    assert all(re.match(r"v?\d", tag) for tag in tags), images


def test_locked_packages_are_installed_by_their_hashes() -> None:
    fetching, installing = instructions("RUN")
    assert "--require-hashes" in fetching
    assert "--no-index" in installing


def test_only_api_prefect_and_monitoring_publish_ports_and_only_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {
        "api": ["127.0.0.1:8000:8000"],
        "prefect": ["127.0.0.1:4200:4200"],
        "grafana": ["127.0.0.1:3000:3000"],
        "prometheus": ["127.0.0.1:9090:9090"],
        "alertmanager": ["127.0.0.1:9093:9093"],
    }
    optional = {name for name, service in SERVICES.items() if service.get("profiles") == ["monitoring"]}
    assert optional == {"monitoring-setup", "prometheus", "alertmanager", "grafana"}
    assert SERVICES["postgres"]["networks"] == SERVICES["redis"]["networks"] == ["stores"]
    assert yaml.safe_load((FOLDER / "compose.yaml").read_text())["networks"]["stores"]["internal"]


def test_no_secret_is_in_the_image_or_compose_environment() -> None:
    for name, value in [*image_environment().items(), *((n, v) for s in SERVICES.values() for n, v in environment(s))]:
        assert name not in SECRET_SETTINGS
        assert not name.endswith(("PASSWORD", "AUTH_STRING", "CONNECTION_URL", "SECRET", "TOKEN"))
        assert "@" not in value


def test_no_secret_file_is_in_the_image_or_the_repository() -> None:
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    assert next(line for line in ignored if not line.startswith("#")) == "*"
    assert "deployments/container/secrets" in ignored
    assert "deployments/container/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    copied = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert {"requirements.lock", "prefect.yaml"} < copied
    assert all((ROOT / path).exists() for path in copied)


def test_every_declared_secret_has_a_file_and_is_used_by_a_service(secrets: Path) -> None:
    used = {name for service in SERVICES.values() for name in service.get("secrets", [])}
    assert used == DECLARED == {file.name for file in secrets.iterdir()}


def test_existing_secrets_are_not_overwritten(secrets: Path) -> None:
    before = (secrets / "encryption_keys").read_text()
    with pytest.raises(FileExistsError):
        make_secrets(secrets)
    assert (secrets / "encryption_keys").read_text() == before


def test_prefect_server_and_clients_have_the_same_password(secrets: Path) -> None:
    server, client = secrets / "prefect_server_api_auth_string", secrets / "prefect_api_auth_string"
    assert server.read_text() == client.read_text()


def test_only_the_owner_can_enter_the_secrets_folder(secrets: Path) -> None:
    assert secrets.stat().st_mode & 0o777 == 0o700


@every_service
def test_every_variable_is_a_known_setting(service: dict[str, Any]) -> None:
    ours = {name.upper() for name in Settings.model_fields}
    known = ours | _get_valid_setting_names(prefect.settings.Settings) | OTHERS
    assert {name for name, _ in environment(service)} | set(image_environment()) <= known


@our_services
def test_prefect_clients_trust_no_certificate_only_where_prefect_has_no_tls(service: dict[str, Any]) -> None:
    variables = dict(environment(service))
    if file := variables.get("PREFECT_API_SSL_CERT_FILE"):
        assert variables["PREFECT_API_URL"].startswith("http://")
        assert (ROOT / Path(file).relative_to("/app")).is_file()


@pytest.mark.parametrize("name", ["api", "webhooks", "worker"])
def test_every_long_running_process_has_all_settings_that_production_requires(
    name: str, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = settings_of(name, Settings, secrets, monkeypatch)
    assert read.environment == "production"
    assert read.database_url.endswith("@postgres/wishcraft")
    assert read.prefect_api_auth_string
    assert bool(read.metrics_token) is (name == "api")


def test_monthly_report_names_only_settings_that_the_example_leaves_open(
    secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find_misconfigurations(settings_of("worker", Settings, secrets, monkeypatch)) or []
    assert {name for name, _ in found} == {"ALERT_WEBHOOK_URL", "OPS_EMAIL", "SENTRY_DSN"}


@pytest.mark.parametrize("name", ["OPS_EMAIL", "RUNBOOK_URL"])
def test_what_monitoring_knows_of_people_is_known_to_the_application(name: str) -> None:
    services = ("api", "webhooks", "worker", "monitoring-setup")
    assert len({SERVICES[each]["environment"].get(name, f"none in {each}") for each in services}) == 1


def test_migrations_have_only_the_database_secret(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_of("migrations", DatabaseSettings, secrets, monkeypatch).database_url
    assert SERVICES["migrations"]["secrets"] == ["database_url"]


def test_prefect_server_requires_a_password_that_every_client_has() -> None:
    assert "prefect_server_api_auth_string" in SERVICES["prefect"]["secrets"]
    for service in OURS.values():
        calls = "PREFECT_API_URL" in service.get("environment", {})
        assert calls is ("prefect_api_auth_string" in service["secrets"])


@our_services
def test_every_command_is_an_existing_module(service: dict[str, Any]) -> None:
    assert service["command"][:2] == ["python", "-m"]
    assert importlib.util.find_spec(service["command"][2])


def test_image_has_the_prefect_settings_of_the_local_stack() -> None:
    assert PREFECT.items() <= image_environment().items()


def test_every_long_running_service_but_the_worker_has_a_health_check() -> None:
    unchecked = {name for name, service in SERVICES.items() if service.get("healthcheck") == {"disable": True}}
    assert unchecked == {"worker", *(name for name, service in SERVICES.items() if service["restart"] == "no")}
    assert "/health/liveness" in instructions("HEALTHCHECK")[0]
    assert {"postgres", "redis", "prefect", "webhooks"} <= {
        name for name, each in SERVICES.items() if "healthcheck" in each
    }


def test_health_check_of_the_consumer_follows_its_heartbeat(tmp_path: Path) -> None:
    command, check = SERVICES["webhooks"]["command"], SERVICES["webhooks"]["healthcheck"]["test"]
    assert check[0] == "CMD-SHELL"
    in_container, heartbeat = command[command.index("--heartbeat") + 1], tmp_path / "webhooks"
    assert in_container in check[1]

    def is_healthy() -> bool:
        shell = check[1].replace(in_container, str(heartbeat))
        return subprocess.run(["/bin/sh", "-c", shell], check=False, stderr=subprocess.DEVNULL).returncode == 0  # noqa: S603  ours

    assert not is_healthy()
    heartbeat.touch()
    assert is_healthy()
    old = time.time() - 40
    os.utime(heartbeat, (old, old))
    assert not is_healthy()


def test_stop_grace_period_is_longer_than_draining() -> None:
    api, worker, consumer = SERVICES["api"], SERVICES["worker"], SERVICES["webhooks"]
    assert seconds(consumer["stop_grace_period"]) > deployments.webhooks.DRAIN_SECONDS
    draining = float(api["environment"]["DRAIN_SECONDS"]) + GRACEFUL_SECONDS
    assert seconds(api["stop_grace_period"]) > draining
    patience = float(worker["command"][worker["command"].index("--patience") + 1])
    assert seconds(worker["stop_grace_period"]) >= patience + 15


def test_prefect_secrets_become_environment_variables(tmp_path: Path) -> None:
    (tmp_path / "prefect_api_auth_string").write_text("ops:secret\n")
    (tmp_path / "encryption_keys").write_text("not Prefect's")
    (tmp_path / "prefect_api_url").write_text("\n")
    found = {"PATH": "/bin", "PREFECT_API_AUTH_STRING": "ops:secret"}
    assert with_prefect_secrets({"PATH": "/bin"}, tmp_path) == found
    assert with_prefect_secrets({"PATH": "/bin", "PREFECT_API_AUTH_STRING": ""}, tmp_path) == found
    own = {"PREFECT_API_AUTH_STRING": "ops:own"}
    assert with_prefect_secrets(own, tmp_path) == own


def test_entrypoint_replaces_its_process_with_the_program() -> None:
    command = [sys.executable, "-m", "deployments.container", sys.executable, "-c", "import os; print(os.getpid())"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:  # noqa: S603  ours
        output, _ = process.communicate(timeout=60)
    assert int(output) == process.pid


def environment(service: dict[str, Any]) -> list[tuple[str, str]]:
    """A service's variables."""
    return list(service.get("environment", {}).items())


def settings_of(name: str, kind: type[Kind], secrets: Path, monkeypatch: pytest.MonkeyPatch) -> Kind:
    """The settings that a service reads from its environment and its secrets."""
    for variable in Settings.model_fields:
        monkeypatch.delenv(variable.upper(), raising=False)
    for variable, value in environment(SERVICES[name]):
        monkeypatch.setenv(
            variable, PLACEHOLDER.sub(lambda match: match["default"] or GIVEN.get(match["name"], ""), value)
        )
    for file in secrets.iterdir():
        if file.name not in SERVICES[name]["secrets"]:
            file.unlink()
    return kind(_secrets_dir=secrets)
