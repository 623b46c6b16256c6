"""What the local stack reads from its environment: ports, and the settings that it does not set itself."""

import re
import socket
from pathlib import Path

import pytest

from deployments.local.environment import (
    Stores,
    check_settings,
    child_environment,
    ports_from_environment,
    prefect_database,
)
from deployments.local.services import Ports
from deployments.local.workspace import Workspace
from deployments.sandbox.processes import ROOT, choose_port, free_port
from wishcraft.errors import ConfigurationError
from wishcraft.settings import Settings

PORTS = Ports(1, 2, 3, 4, 5, 6, 7)


def test_port_in_use_is_refused_with_the_name_of_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("API_PORT", str(taken.getsockname()[1]))
        monkeypatch.setenv("PREFECT_PORT", str(free_port()))
        wanted = r"^port \d+ is in use: .*`API_PORT=\d+ PREFECT_PORT=\d+ make up`$"
        with pytest.raises(ConfigurationError, match=wanted):
            ports_from_environment("make up")


def test_command_for_ports_in_use_has_free_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        for variable, taken in {"API_PORT": one, "PREFECT_PORT": two}.items():
            monkeypatch.setenv(variable, str(taken.getsockname()[1]))
        with pytest.raises(ConfigurationError, match=r"^port \d+ is in use and port \d+ is in use:") as refused:
            ports_from_environment("make up")
        chosen = dict(re.findall(r"(\w+_PORT)=(\d+)", str(refused.value)))
        for variable, port in chosen.items():
            monkeypatch.setenv(variable, port)
        assert ports_from_environment("make up") == tuple(map(int, chosen.values()))
        assert len(set(chosen.values())) == 2


def test_equal_ports_are_refused_as_equal_although_they_are_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for variable in ("API_PORT", "PREFECT_PORT"):
            monkeypatch.setenv(variable, str(port))
        with pytest.raises(ConfigurationError, match=f"^API_PORT and PREFECT_PORT are both {port}: change one"):
            ports_from_environment("make up")


@pytest.mark.parametrize(
    "url", ["garbage", "postgresql://u:hush@db/prefect", "postgresql+asyncpg://u:hush@db:x/p", "sqlite+aiosqlite://"]
)
def test_database_of_prefect_that_it_cannot_use_is_refused(url: str) -> None:
    variable = "PREFECT_API_DATABASE_CONNECTION_URL"
    with pytest.raises(ConfigurationError, match=f"^{variable} must look like postgresql") as refused:
        prefect_database("postgresql://db/w", {variable: url})
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("place", ["u:p%40@db:5433/w", "/w?host=/run/postgresql", "u@/w?host=/run&port=5433", "/w"])
def test_database_of_prefect_that_the_stack_derives_is_accepted_as_a_setting(place: str) -> None:
    derived = prefect_database(f"postgresql://{place}", {})
    assert derived.startswith("postgresql+asyncpg://")
    assert prefect_database("postgresql://other/w", {"PREFECT_API_DATABASE_CONNECTION_URL": derived}) == derived


def test_unreadable_stored_port_is_chosen_again(tmp_path: Path) -> None:
    file = tmp_path / "mailbox.port"
    for text in ("", "x", "70000", "-1"):
        file.write_text(text)
        port = choose_port("The mailbox", None, file)
        assert file.read_text() == f"{port}\n"
    assert choose_port("The mailbox", None, file) == port


@pytest.mark.parametrize("port", [" ", "http", "-1", "0", "65536"])
def test_invalid_port_is_refused_with_the_name_of_its_variable(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_PORT", port)
    with pytest.raises(ConfigurationError, match="PREFECT_PORT must be a port number"):
        ports_from_environment("make up")


def test_empty_variable_of_the_stack_counts_as_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = {"API_PORT": free_port(), "PREFECT_PORT": free_port()}
    for name in (*free, "LOG_FORMAT"):
        monkeypatch.setenv(name, "")
    assert ports_from_environment("make up", free) == tuple(free.values())
    stores = Stores("postgresql://db/w", None, "redis://r")
    assert child_environment(Workspace(tmp_path), "stack-id", PORTS, stores)["LOG_FORMAT"] == "text"


def test_api_host_must_be_reached_by_the_other_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DATABASE_URL", "REDIS_URL", "DATABASE_REPLICA_URL"):
        monkeypatch.delenv(variable, raising=False)
    for host in ("", "127.0.0.1", "localhost", "0.0.0.0"):  # noqa: S104  only checked
        monkeypatch.setenv("API_HOST", host)
        check_settings(Workspace(tmp_path), "stack-id", PORTS)
    for host in ("127.0.0.2", "host.invalid"):
        monkeypatch.setenv("API_HOST", host)
        with pytest.raises(ConfigurationError, match=f"API_HOST must be 127.0.0.1, .*, not '{host}'$"):
            check_settings(Workspace(tmp_path), "stack-id", PORTS)


def test_settings_page_names_what_the_stack_sets_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(name.upper(), "of:the-shell")
    stores = Stores("postgresql://db/w", None, "redis://r")
    environment = child_environment(Workspace(tmp_path), "stack-id", PORTS, stores)
    own = {name.upper() for name in Settings.model_fields if environment[name.upper()] != "of:the-shell"}
    page = (ROOT / "docs/settings.md").read_text()
    text = page.partition("which it sets itself: ")[2].partition(".")[0]
    assert set(re.findall(r"`(\w+)`", text)) == own - {"DATABASE_URL", "REDIS_URL", "API_PORT"}  # arguments here
