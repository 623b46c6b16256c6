"""Files behind the password of operations: who gets them, how, and which."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from tests.support.aliases import OpenClient
from tests.support.api import app_state_of, problem
from wishcraft.cache import rate_limiter
from wishcraft.settings import Settings

LOGIN = ("ops", "pass:wörd")
URL = "/files/a-run/data.html"
PAGE = b"<script>alert(1)</script>"


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """Settings with a password and a folder."""
    changes = {"prefect_api_auth_string": SecretStr(":".join(LOGIN)), "files_url": (tmp_path / "files").as_uri()}
    return settings.model_copy(update=changes)


@pytest.fixture
async def client(settings: Settings, open_client: OpenClient, demo: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API with one file."""
    async with open_client(settings) as client:
        app_state_of(client).resources.files.write("runs/a-run", "data.html", PAGE)
        yield client


def basic(user: str, password: str) -> httpx.BasicAuth:
    return httpx.BasicAuth(user.encode(), password.encode())


async def test_file_is_saved_and_never_shown(client: httpx.AsyncClient) -> None:
    answer = await client.get(URL, auth=basic(*LOGIN))
    assert (answer.status_code, answer.content) == (200, PAGE)
    assert answer.headers["content-disposition"] == 'attachment; filename="data.html"'
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("sandbox;")
    assert answer.headers["cache-control"] == "no-store"
    assert (await client.head(URL, auth=basic(*LOGIN))).headers["content-length"] == str(len(PAGE))
    whole = await client.get(URL, auth=basic(*LOGIN), headers={"Range": "bytes=90-99"})
    assert (whole.status_code, whole.content) == (200, PAGE)


async def test_page_is_shown_on_request_without_scripts_and_other_files_are_saved(client: httpx.AsyncClient) -> None:
    shown = await client.get(f"{URL}?show=true", auth=basic(*LOGIN))
    assert (shown.status_code, shown.content) == (200, PAGE)
    assert shown.headers["content-type"] == "text/html; charset=utf-8"
    assert "content-disposition" not in shown.headers
    policy = shown.headers["content-security-policy"].split("; ")
    assert policy[:2] == ["sandbox", "default-src 'none'"]
    assert not [each for each in policy if each.startswith("script-src") or "http" in each]
    app_state_of(client).resources.files.write("runs/a-run", "data.json", b"{}")
    saved = await client.get("/files/a-run/data.json?show=true", auth=basic(*LOGIN))
    assert saved.headers["content-disposition"].startswith("attachment;")
    assert problem(await client.get(f"{URL}?show=true")) == (401, "unauthorized")


@pytest.mark.parametrize(
    "header",
    [None, "", "Basic", "Basic !", "Basic b3BzOg==", "Bearer b3BzOnBhc3M6d8O2cmQ=", "Basic b3BzOnBhc3M6d8O2cmQ",
     "Basic " + "A" * 4000],
)  # fmt: skip
async def test_without_the_password_the_browser_is_asked_for_it(client: httpx.AsyncClient, header: str | None) -> None:
    answer = await client.get(URL, headers={} if header is None else {"Authorization": header})
    assert problem(answer) == (401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Basic realm=")


@pytest.mark.parametrize("login", [("ops", ""), ("ops", "pass"), ("x", "pass:wörd"), ("ops", "pass:word")])
async def test_another_password_is_refused(client: httpx.AsyncClient, login: tuple[str, str]) -> None:
    assert problem(await client.get(URL, auth=basic(*login))) == (401, "unauthorized")


async def test_after_many_wrong_passwords_the_right_one_has_to_wait_too(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = (time.time() // 60 + 1) * 60 + 30  # far from the end of a window
    monkeypatch.setattr(rate_limiter, "time", SimpleNamespace(time=lambda: now))
    answers = [await client.get(URL, auth=basic("ops", str(each))) for each in range(61)]
    assert [each.status_code for each in answers] == [401] * 60 + [429]
    right = await client.get(URL, auth=basic(*LOGIN))
    assert problem(right) == (429, "too-many-requests")
    assert 0 < int(right.headers["retry-after"]) <= 60


async def test_being_asked_for_the_password_costs_no_try(client: httpx.AsyncClient) -> None:
    for _ in range(61):
        assert (await client.get(URL)).status_code == 401
    assert (await client.get(URL, auth=basic(*LOGIN))).status_code == 200


@pytest.mark.parametrize("value", [None, SecretStr("")])
async def test_without_a_password_in_the_settings_there_are_no_files(
    open_client: OpenClient, settings: Settings, client: httpx.AsyncClient, value: SecretStr | None
) -> None:
    async with open_client(settings.model_copy(update={"prefect_api_auth_string": value})) as other:
        assert problem(await other.get(URL, auth=basic("", ""))) == (404, "not-found")


ELSEWHERE = [
    "/files/a-run/none.html", "/files/none/data.html", "/files/../erasures/secret.json", "/files/a-run/..%2Fsecret",
    "/files/%2e%2e/secret", "/files/a-run/%2e%2e", "/files/a-run/.hidden", "/files/a-run/link", "/files/linked/secret",
    "/files/a-run/folder", "/files/a-run/data.html/", "/files/a-run", "/files//data.html", "/files/a-run/data.html%00",
    "/files/a-run/data.html%0a", "/files/a-run/" + "a" * 200,
]  # fmt: skip


async def test_no_path_leads_elsewhere(client: httpx.AsyncClient, tmp_path: Path) -> None:
    files = tmp_path / "files"
    (files / "erasures").mkdir()
    for secret in (tmp_path / "secret", files / "secret", files / "erasures/secret.json", files / "runs/secret"):
        secret.write_text("secret")
    (files / "runs/a-run/.hidden").write_text("secret")
    (files / "runs/a-run/folder").mkdir()
    (files / "runs/a-run/link").symlink_to(tmp_path / "secret")
    (files / "runs/linked").symlink_to(tmp_path)
    for path in ELSEWHERE:
        answer = await client.get(path, auth=basic(*LOGIN))
        assert answer.status_code in {404, 422}, (path, answer.text)
        assert b"secret" not in answer.content


@pytest.mark.parametrize("url", ["s3://bucket", "https://files.example", "file://host/folder", "file:", "/folder"])
def test_other_storage_is_refused_by_name(settings: Settings, url: str) -> None:
    with pytest.raises(ValueError, match=r"no other storage is supported"):
        Settings.model_validate(settings.model_dump() | {"files_url": url})
