import re
from collections.abc import Callable

import pytest

from deployments.api_keys import main
from tests.support.aliases import Demo
from wishcraft.domain.api_keys import digest, prefix_of
from wishcraft.settings import Settings

SHOP = "maple-and-pine.myshopify.com"


@pytest.fixture
def printed(
    settings: Settings, demo: Demo, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """What the command prints in this process."""
    assert not demo.closed
    monkeypatch.setenv("DATABASE_URL", settings.database_url)

    def run(*arguments: str) -> str:
        main(arguments)
        return capsys.readouterr().out

    return run


def test_key_is_created_listed_rotated_and_revoked(printed: Callable[..., str], demo: Demo) -> None:
    options = ["--scope", "read", "--scope", "write", "--scope", "read", "--allow", "10.0.0.0/8", "--days", "90"]
    key = printed("create", SHOP, " our shop ", *options).strip()
    prefix = prefix_of(key)
    row = demo.execute(
        "SELECT key_hash, scopes, ip_allow_list::text[], expires_at - created_at > interval '89 days'"
        " FROM api_keys WHERE prefix = %s",
        [prefix],
    ).fetchone()
    assert row == (digest(key), ["read", "write"], ["10.0.0.0/8"], True)
    rotated = printed("rotate", SHOP, prefix, "--grace-hours", "2")
    assert prefix_of(rotated.strip()) not in {None, prefix}
    listed = printed("list", SHOP).splitlines()
    assert [re.sub(r" .*", "", line) for line in listed] == [prefix_of(rotated.strip()), prefix]
    assert all("our shop: read, write; from 10.0.0.0/8; expires 20" in line for line in listed)
    printed("revoke", SHOP, prefix)
    afterwards = printed("list", SHOP)
    assert "revoked 20" in afterwards
    assert key not in afterwards
    actions = demo.execute("SELECT action FROM audit_logs WHERE resource = 'api_key' ORDER BY id").fetchall()
    assert [action for (action,) in actions] == ["key.created", "key.rotated", "key.revoked"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["create", "nobody.myshopify.com", "x"], "no active shop has the domain 'nobody.myshopify.com'"),
        (["create", SHOP, "x", "--allow", "10.0.0.0/99"], "invalid network value: '10.0.0.0/99'"),
        (["create", SHOP, ""], "argument name: must be a line of 1 to 120 characters"),
        (["create", SHOP, " \t"], "argument name: must be a line of 1 to 120 characters"),
        (["create", SHOP, "x" * 121], "argument name: must be a line of 1 to 120 characters"),
        (["create", SHOP, "a\nb"], "argument name: must be a line of 1 to 120 characters"),
        (["create", SHOP, "x", "--allow", ""], "invalid network value: ''"),
        (["create", SHOP, "x", "--allow", "10.0.0.0/8,::/0"], "invalid network value: '10.0.0.0/8,::/0'"),
        (["create", SHOP, "x", "--days", "0"], "argument --days: must be a number from 1 to 3,650"),
        (["create", SHOP, "x", "--days", "3000000"], "argument --days: must be a number from 1 to 3,650"),
        (["rotate", SHOP, "0" * 12, "--grace-hours", "-1"], "argument --grace-hours: must be a number from 0 to 720"),
        (["rotate", SHOP, "0" * 12, "--grace-hours", "9" * 30], "argument --grace-hours: must be a number from 0"),
        (["revoke", SHOP, "0" * 12], "The shop has no such key."),
        (["rotate", SHOP, "0" * 12], "The shop has no such key."),
        ([], "usage:"),
    ],
)
def test_invalid_command_fails_with_a_message(
    settings: Settings,
    demo: Demo,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    assert not demo.closed
    monkeypatch.setenv("DATABASE_URL", settings.database_url)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code  # what is not a number is printed, and the status is 1
    assert message in f"{ended.value.code}\n{capsys.readouterr().err}"


@pytest.mark.parametrize("arguments", [["create", SHOP, "x", "--days", "90"], ["rotate", SHOP, "0" * 12]])
def test_no_key_is_made_that_could_not_be_printed(
    settings: Settings, demo: Demo, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    demo.execute(
        """INSERT INTO api_keys (shop_id, name, prefix, key_hash, scopes)
        SELECT id, 'x', '000000000000', '\\x00', '{read}' FROM shops WHERE domain = %s""",
        [SHOP],
    )
    monkeypatch.setenv("DATABASE_URL", settings.database_url)
    monkeypatch.setenv("TZ", "Nowhere/Invalid")
    with pytest.raises(SystemExit, match=r"TZ: .*must be the name of a time zone"):
        main(arguments)
    assert demo.execute("SELECT count(*), count(expires_at) FROM api_keys").fetchone() == (1, 0)
