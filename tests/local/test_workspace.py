"""The workspace `.wishcraft`, the environment of the stack's processes, and its configuration errors."""

import json
import os
import ssl
import subprocess
import sys
from datetime import UTC, datetime
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url

from deployments.local.__main__ import down, main, reset, up
from deployments.local.environment import (
    Stores,
    check_settings,
    child_environment,
    prefect_database,
)
from deployments.local.services import Ports
from deployments.local.sign import signed_url
from deployments.local.stack import Stack
from deployments.local.stack_info import describe, read_stack_info
from deployments.local.terminal import Terminal
from deployments.local.workspace import Workspace, write_private_json
from deployments.sandbox.processes import ROOT, free_port
from wishcraft.errors import ConfigurationError
from wishcraft.settings import Settings
from wishcraft.shopify.signatures import verify_proxy_query
from wishcraft.urls.mail import parse_sendgrid, parse_ses


def test_second_stack_in_a_checkout_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / ".wishcraft")
    with (
        workspace.locked("first"),
        pytest.raises(
            ConfigurationError, match=f"already runs as process {os.getpid()}; .*--folder {workspace.folder} down`$"
        ),
        workspace.locked("second"),
    ):
        pass


def test_down_stops_the_stack_that_runs_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = Workspace(tmp_path / ".wishcraft")
    down(workspace)  # there is not even a folder
    with workspace.locked("first"):
        assert workspace.holder() == os.getpid()
    down(workspace)
    assert capsys.readouterr().out == 2 * f"No local stack runs in {workspace.folder}.\n"
    program = (
        "import signal, sys; from pathlib import Path; from deployments.local.workspace import Workspace\n"
        "with Workspace(Path(sys.argv[1])).locked('second'): print('locked', flush=True); signal.pause()"
    )
    stack = subprocess.Popen(  # noqa: S603  the text above
        [sys.executable, "-c", program, str(workspace.folder)], cwd=ROOT, stdout=subprocess.PIPE
    )
    with stack:
        assert stack.stdout is not None
        assert stack.stdout.readline() == b"locked\n"
        down(workspace)
        assert stack.poll() is not None
    assert "Stopped the local stack." in capsys.readouterr().out


def test_lock_yields_the_id_of_the_previous_stack(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / ".wishcraft")
    with workspace.locked("first") as previous:
        assert previous == ""
    with workspace.locked("second") as previous:
        assert previous == "first"


def test_start_deletes_temporary_files_of_a_killed_stack(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / ".wishcraft")
    with workspace.locked("first"):
        (workspace.temporary / "left").touch()
    with workspace.locked("second"):
        assert list(workspace.temporary.iterdir()) == []


def test_no_other_user_may_enter_the_folder_of_the_stack(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / ".wishcraft")
    workspace.logs.mkdir(parents=True)
    workspace.folder.chmod(0o755)  # an earlier release left it so
    with workspace.locked("first"):
        assert workspace.folder.stat().st_mode & 0o777 == 0o700


def test_secrets_are_generated_once_and_readable_only_by_the_owner(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert workspace.secrets() == workspace.secrets()
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_stack_info_is_replaced_atomically_and_readable_only_by_the_owner(tmp_path: Path) -> None:
    file = tmp_path / "board.json"
    for number in (1, 2):
        write_private_json(file, {"number": number})
    assert json.loads(file.read_text()) == {"number": 2}
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_reset_deletes_all_but_the_lock_and_what_was_downloaded_from_shopify(tmp_path: Path) -> None:
    for name in ("postgres/base", "shopify-api/node_modules"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("lock", "secrets.json", "admin_2026-10.json.gz"):
        (tmp_path / name).touch()
    Workspace(tmp_path).delete_data()
    assert {path.name for path in tmp_path.iterdir()} == {"lock", "admin_2026-10.json.gz", "shopify-api"}


def test_children_use_only_the_prefect_server_of_the_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", "someone's cloud")
    monkeypatch.setenv("PREFECT_API_URL", "https://elsewhere.example/api")
    database = "postgresql://postgres:secret@127.0.0.1:5433/wishcraft"
    environment = child_environment(
        Workspace(tmp_path),
        "stack-id",
        Ports(8000, 4200, 9000, 9001, 9002, 9003, 9004),
        Stores(database, None, "redis://r"),
    )
    assert "PREFECT_API_KEY" not in environment
    assert environment["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert Path(environment["PREFECT_PROFILES_PATH"]).is_relative_to(tmp_path)
    assert environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] == (
        "postgresql+asyncpg://postgres:secret@127.0.0.1:5433/prefect"
    )


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_children_call_the_stack_directly_although_the_shell_has_a_proxy(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv(name, "intranet.example")
    environment = child_environment(
        Workspace(tmp_path),
        "stack-id",
        Ports(8000, 4200, 9000, 9001, 9002, 9003, 9004),
        Stores("postgresql://postgres:secret@127.0.0.1:5433/wishcraft", None, "redis://r"),
    )
    monkeypatch.setattr(os, "environ", environment)
    found = {host: bool(proxy_bypass(host)) for host in ("127.0.0.1:4200", "intranet.example", "shopify.com")}
    assert found == {"127.0.0.1:4200": True, "intranet.example": True, "shopify.com": False}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "nonsense"), ("DATABASE_URL", "postgresql://[x"), ("DATABASE_REPLICA_URL", "nonsense"),
        ("REDIS_URL", "ftp://x"), ("SENTRY_DSN", "abc"), ("TZ", "Mars/Olympus"), ("PREFECT_API_AUTH_STRING", "nocolon"),
        ("SHOPIFY_API_VERSION", "zz"), ("RATE_LIMIT_PER_MINUTE", "0"), ("CORS_ORIGINS", "nope"),
        ("SHOPPING_RATE", "-1"), ("SHOPPING_RATE", "many"), ("SHOPPING_RATE", "nan"),
    ],
)  # fmt: skip
def test_every_setting_of_the_stack_is_checked_before_a_process_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("API_PORT", str(free_port()))
    monkeypatch.setenv("PREFECT_PORT", str(free_port()))
    monkeypatch.setattr("deployments.local.__main__.watchdog", None)  # which is the first of them
    with pytest.raises(ConfigurationError, match=f"^{name}:? must [^;]+$"):
        up(Workspace(tmp_path))


@pytest.mark.parametrize("command", ["up", "down", "reset", "sign registries"])
@pytest.mark.parametrize("below", ["", "/below"])
def test_file_is_refused_as_the_folder_of_the_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, below: str
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setattr("sys.argv", ["local", "--folder", f"{file}{below}", *command.split()])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err.endswith(f"error: argument --folder: {file} is not a folder\n")


def test_reset_of_a_folder_without_a_stack_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "letter").touch()
    for folder in (tmp_path / "none", other):
        reset(Workspace(folder))
        assert capsys.readouterr().out == f"There are no data of a local stack in {folder}.\n"
    assert sorted(tmp_path.rglob("*")) == [other, other / "letter"]


def test_reset_deletes_the_data_of_a_stack_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = Workspace(tmp_path)
    with workspace.locked("some"):
        workspace.secrets()
    reset(workspace)
    assert capsys.readouterr().out.startswith("Deleted the data of the local stack.")
    reset(workspace)
    assert capsys.readouterr().out.startswith("There are no data of a local stack")


@pytest.mark.parametrize("is_exported", [True, False])
def test_reset_says_if_the_shell_still_has_the_deleted_login_of_prefect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, is_exported: bool
) -> None:
    workspace = Workspace(tmp_path)
    with workspace.locked("some"):
        login = workspace.prefect_password()
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", login if is_exported else "ops:my-own")
    reset(workspace)
    assert ("`unset PREFECT_API_AUTH_STRING`" in capsys.readouterr().out) == is_exported


def test_settings_of_the_stack_are_valid_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("DATABASE_URL", "")
    check_settings(Workspace(tmp_path), "stack-id", Ports(1, 2, 3, 4, 5, 6, 7))


@pytest.mark.parametrize(
    ("query", "of_prefect"),
    [
        ("", ""),
        ("?sslmode=require&application_name=w&connect_timeout=5", "?ssl=require"),
        ("?host=/run/postgresql&port=5433", "?host=%2Frun%2Fpostgresql&port=5433"),
    ],
)
def test_database_of_prefect_is_on_the_same_server_with_the_options_of_asyncpg(query: str, of_prefect: str) -> None:
    url = prefect_database(f"postgresql://user:p%40/?ss@db.example/wishcraft{query}", {})
    assert url == f"postgresql+asyncpg://user:p%40%2F%3Fss@db.example/prefect{of_prefect}"
    dialect: Any = make_url(url).get_dialect()()
    _, options = dialect.create_connect_args(make_url(url))
    assert options.keys() <= signature(import_module("asyncpg").connect).parameters.keys()


def test_database_option_that_prefect_cannot_use_is_refused_before_a_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:secret@db.example/wishcraft?sslrootcert=/ca.pem")
    with pytest.raises(
        ConfigurationError, match=r"does not know sslrootcert of DATABASE_URL: set PREFECT_API"
    ) as refused:
        check_settings(Workspace(tmp_path), "stack-id", Ports(1, 2, 3, 4, 5, 6, 7))
    assert "secret" not in str(refused.value)
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", "postgresql+asyncpg://db.example/prefect")
    check_settings(Workspace(tmp_path), "stack-id", Ports(1, 2, 3, 4, 5, 6, 7))


def test_same_port_for_api_and_prefect_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="API_PORT and PREFECT_PORT are both 8303"):
        Ports(api=8303, prefect=8303, shopify=1, mailbox=2, smtp=3, dns=4, bounces=5)


def test_prefect_requires_a_password_that_is_generated_once_in_a_private_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_AUTH_STRING", raising=False)
    user, _, password = environment_of(tmp_path)["PREFECT_API_AUTH_STRING"].partition(":")
    assert user == "ops"
    assert len(password) == 32
    assert environment_of(tmp_path)["PREFECT_SERVER_API_AUTH_STRING"] == f"ops:{password}"
    assert (tmp_path / "prefect_password").read_text() == f"ops:{password}"
    assert (tmp_path / "prefect_password").stat().st_mode & 0o777 == 0o600


def test_password_in_the_environment_replaces_the_generated_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "ops:pass:word")
    environment = environment_of(tmp_path)
    assert environment["PREFECT_SERVER_API_AUTH_STRING"] == environment["PREFECT_API_AUTH_STRING"] == "ops:pass:word"
    assert not (tmp_path / "prefect_password").exists()


def test_only_the_ui_of_the_stack_may_call_its_prefect_server(tmp_path: Path) -> None:
    environment = environment_of(tmp_path)
    assert environment["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == "http://127.0.0.1:2"


def test_links_of_prefect_itself_open_version_2_of_its_ui(tmp_path: Path) -> None:
    assert environment_of(tmp_path)["PREFECT_UI_URL"] == "http://127.0.0.1:2/v2"


def test_prefect_clients_of_the_stack_read_a_single_certificate_that_nothing_trusts(tmp_path: Path) -> None:
    environment = environment_of(tmp_path)
    assert environment["PREFECT_API_URL"].startswith("http://")
    context = ssl.create_default_context(cafile=environment["PREFECT_API_SSL_CERT_FILE"])
    assert context.cert_store_stats() == {"x509": 1, "crl": 0, "x509_ca": 0}


def test_stack_info_keeps_the_name_and_the_keys_by_which_programs_read_it(tmp_path: Path) -> None:
    (tmp_path / "demo.json").write_text('{"shops": []}')
    assert Workspace(tmp_path).stack_info == tmp_path / "board.json"
    assert read_stack_info(Workspace(tmp_path), environment_of(tmp_path)).keys() >= {
        *("api", "prefect_ui", "prefect_api", "prefect_password", "shopify", "mailbox", "mail_providers"),
        *("database_url", "redis_url", "shopify_api_secret", "shops"),
    }


def test_stack_info_has_the_addresses_of_the_simulated_mail_providers(tmp_path: Path) -> None:
    info = read_stack_info(Workspace(tmp_path), environment_of(tmp_path))
    assert info["mail_providers"] == {"ses": f"{info['mailbox']}/ses", "sendgrid": f"{info['mailbox']}/sendgrid"}


async def test_demo_shops_are_described_in_the_folder_of_their_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = []

    async def run_once(_stack: Stack, _title: str, _name: str, *arguments: str) -> None:
        programs.append(arguments)

    monkeypatch.setattr(Stack, "_run_once", run_once)
    await Stack(Workspace(tmp_path), "stack-id", Ports(1, 2, 3, 4, 5, 6, 7), Terminal())._prepare_database()
    assert ("deployments.sandbox.demo", "--card", str(tmp_path / "demo.json")) in programs


def test_description_says_where_the_prefect_login_is_but_does_not_contain_it(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    text = describe(read_stack_info(workspace, environment_of(tmp_path)))
    assert f"log in once with the text of {tmp_path}/prefect_password" in text
    assert f"Logs         {tmp_path}/logs" in text
    assert workspace.prefect_password() not in text


def test_description_names_the_variable_with_the_prefect_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "ops:of-the-environment")
    text = describe(read_stack_info(Workspace(tmp_path), environment_of(tmp_path)))
    assert "log in once with the text of PREFECT_API_AUTH_STRING" in text
    assert "ops:of-the-environment" not in text


def test_paths_in_the_checkout_are_shown_as_commands_write_them() -> None:
    workspace = Workspace(ROOT / ".wishcraft")
    assert workspace.shown(workspace.logs) == ".wishcraft/logs"


def test_signed_url_names_the_customer_and_keeps_the_query(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    secret, shops = "secret of the app", [{"domain": "maple.myshopify.com"}, {"domain": "sakura.myshopify.com"}]
    workspace.stack_info.write_text(
        json.dumps({"api": "http://127.0.0.1:1", "shopify_api_secret": secret, "shops": shops})
    )
    for path in ("registries?q=a%26b&limit=2", "/api/registries?q=a%26b&limit=2"):
        url = urlsplit(signed_url(workspace, path, "sakura.myshopify.com", 71))
        identity = verify_proxy_query(url.query, [secret], datetime.now(UTC))
        assert identity is not None
        assert (identity.shop, identity.customer_id) == ("sakura.myshopify.com", 71)
        assert (url.netloc, url.path, url.query.startswith("q=a%26b&limit=2&")) == (
            "127.0.0.1:1",
            "/api/registries",
            True,
        )
    guest = verify_proxy_query(
        urlsplit(signed_url(workspace, "registries", None, None)).query, [secret], datetime.now(UTC)
    )
    assert guest is not None
    assert (guest.shop, guest.customer_id) == ("maple.myshopify.com", None)
    with pytest.raises(ConfigurationError, match="no shop elsewhere: choose one of maple"):
        signed_url(workspace, "registries", "elsewhere", None)
    workspace.stack_info.unlink()
    with pytest.raises(ConfigurationError, match=r"start it with `.* up`"):
        signed_url(workspace, "registries", None, None)


def environment_of(folder: Path) -> dict[str, str]:
    stores = Stores("postgresql://db/w", "postgresql://analyst@db/w", "redis://r")
    return child_environment(Workspace(folder), "stack-id", Ports(1, 2, 3, 4, 5, 6, 7), stores)


def test_mail_provider_chooses_how_the_stack_sends_mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAIL_PROVIDER", raising=False)
    assert environment_of(tmp_path)["MAIL_URL"] == "smtp://127.0.0.1:5"
    monkeypatch.setenv("MAIL_PROVIDER", "ses")
    account = parse_ses(SecretStr(environment_of(tmp_path)["MAIL_URL"]))
    assert (account.endpoint, account.configuration_set) == ("http://127.0.0.1:4/ses", "wishcraft")
    monkeypatch.setenv("MAIL_PROVIDER", "sendgrid")
    url = SecretStr(environment_of(tmp_path)["MAIL_URL"])
    assert parse_sendgrid(url).endpoint == "http://127.0.0.1:4/sendgrid"
    monkeypatch.setenv("MAIL_PROVIDER", "postmark")
    with pytest.raises(ConfigurationError, match="MAIL_PROVIDER must be smtp, ses, sendgrid, not 'postmark'"):
        environment_of(tmp_path)
