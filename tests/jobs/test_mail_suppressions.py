"""The job `mail-suppressions`, and the merchant's way to lift a suppression."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from prefect import State

from flows.mail_suppressions import mail_suppressions
from tests.support.aliases import Demo
from tests.support.prefect_artifacts import summary_of, table_of
from wishcraft.domain.addresses import address_hash
from wishcraft.settings import Settings

pytestmark = pytest.mark.usefixtures("prefect_server", "worker_environment", "demo")
SHOP: Final = "maple-and-pine.myshopify.com"


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"files_url": tmp_path.as_uri()})


@pytest.fixture(autouse=True)
def suppress(demo: Demo) -> Callable[..., str]:
    """Function that suppresses an address; its hash in hex. None is before."""
    demo.execute("DELETE FROM email_suppressions; TRUNCATE audit_logs")

    def suppress(address: str, reason: str = "bounce", shop_id: int = 1) -> str:
        hashed = address_hash(shop_id, address)
        demo.execute("INSERT INTO email_suppressions VALUES (%s, %s, %s)", [shop_id, hashed, reason])
        return hashed.hex()

    return suppress


def only_export(folder: Path) -> list[str]:
    """The lines of the only exported file."""
    [file] = folder.rglob("suppressions-*.csv")
    return file.read_text().splitlines()


async def run(**parameters: Any) -> State[Any]:
    return await mail_suppressions(SHOP, **parameters, return_state=True)


def left(demo: Demo) -> set[tuple[int, str]]:
    rows = demo.execute("SELECT shop_id, address_hash, reason FROM email_suppressions").fetchall()
    return {(shop_id, reason) for shop_id, _, reason in rows}


def audited(demo: Demo) -> list[tuple[Any, ...]]:
    return demo.execute("SELECT actor, action, metadata->>'reason' FROM audit_logs ORDER BY id").fetchall()


async def test_suppressed_addresses_are_listed_by_hash_and_reason(suppress: Callable[..., str]) -> None:
    assert (await run()).message == f"{SHOP}: no suppressed address."
    bounced, complained = suppress("a@example.com"), suppress("b@example.com", "complaint")
    suppress("c@example.com", shop_id=2)
    state = await run()
    assert state.message == f"{SHOP}: 2 suppressed addresses, 1 by bounce, 1 by complaint."
    assert {(row["address hash"], row["reason"]) for row in await table_of(state)} == {
        (bounced, "bounce"),
        (complained, "complaint"),
    }
    assert "@example.com" not in await summary_of(state)
    only = await run(reason="complaint")
    assert [row["address hash"] for row in await table_of(only)] == [complained]


async def test_hashes_are_lifted_in_their_shop_alone_and_audited(suppress: Callable[..., str], demo: Demo) -> None:
    mine, kept = suppress("a@example.com", "complaint"), suppress("b@example.com")
    suppress("a@example.com", shop_id=2)
    state = await run(action="lift", hashes=[mine, "0" * 64])
    assert state.message == f"{SHOP}: 1 suppression lifted. 1 other had none."
    assert left(demo) == {(1, "bounce"), (2, "bounce")}
    assert kept != mine
    assert audited(demo) == [("mail-suppressions", "mail.suppression_lifted", "complaint")]


async def test_addresses_of_a_registry_are_lifted_by_its_id(suppress: Callable[..., str], demo: Demo) -> None:
    [[registry, recipient]] = demo.execute(
        "SELECT registry_id, recipient FROM invitations WHERE shop_id = 1 AND removed_at IS NULL ORDER BY id LIMIT 1"
    ).fetchall()
    suppress(recipient)
    suppress("other@example.com")
    assert str((await run(action="lift", registry=registry)).message).startswith(f"{SHOP}: 1 suppression lifted.")
    assert len(demo.execute("SELECT FROM email_suppressions").fetchall()) == 1


async def test_export_has_every_hash(suppress: Callable[..., str], tmp_path: Path) -> None:
    hashes = {suppress(f"{n}@example.com") for n in range(3)}
    state = await run(action="export")
    lines = only_export(tmp_path)
    assert lines[0] == "address_hash,reason,since"
    assert {line.split(",")[0] for line in lines[1:]} == hashes
    assert "3 rows of 3 columns" in await summary_of(state)


async def test_file_of_addresses_is_imported_and_deleted(
    suppress: Callable[..., str], demo: Demo, tmp_path: Path
) -> None:
    suppress("known@example.com", "complaint")
    folder = tmp_path / "imports"
    folder.mkdir()
    file = folder / "list.csv"
    file.write_text(
        "\ufeffaddress,reason\n New@Example.com ,\nknown@example.com,bounce\n\nb@bücher.example,COMPLAINT\n", "utf-8"
    )
    state = await run(action="import", file="list.csv")
    assert state.message == f"{SHOP}: 3 addresses read, 2 of them newly suppressed."
    stored: dict[str, str] = dict(
        demo.execute("SELECT encode(address_hash, 'hex'), reason FROM email_suppressions").fetchall()
    )
    assert stored == {
        address_hash(1, "new@example.com").hex(): "bounce",
        address_hash(1, "known@example.com").hex(): "complaint",
        address_hash(1, "b@xn--bcher-kva.example").hex(): "complaint",
    }
    assert not file.exists()


async def test_imported_reason_replaces_one_that_says_less_of_the_owner(
    suppress: Callable[..., str], demo: Demo, tmp_path: Path
) -> None:
    suppress("a@example.com", "unsubscribe")
    suppress("b@example.com", "bounce")
    (tmp_path / "imports").mkdir()
    lines = ["a@example.com,complaint", "b@example.com,unsubscribe", "c@example.com,complaint", "C@example.com,bounce"]
    lines += ["d@example.com,unsubscribe", "d@example.com,bounce"]
    (tmp_path / "imports" / "list.csv").write_text("\n".join(lines))
    state = await run(action="import", file="list.csv")
    assert state.message == f"{SHOP}: 4 addresses read, 2 of them newly suppressed."
    reasons = demo.execute("SELECT reason FROM email_suppressions ORDER BY 1").fetchall()
    assert reasons == [("complaint",), ("complaint",), ("unsubscribe",), ("unsubscribe",)]


@pytest.mark.parametrize(
    "content",
    [
        b"created,email,reason,status\n1796000000,jo@example.com,550 no such user,5.1.1\n",
        b"Email Address;Grund\njo@example.com;geht nicht\n",
        b"jo@example.com\n",
    ],
)
async def test_list_of_another_provider_is_imported_with_the_reason_of_the_form(
    demo: Demo, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "imports").mkdir()
    (tmp_path / "imports/list.csv").write_bytes(content)
    assert (await run(action="import", file="list.csv", reason="complaint")).name == "Completed"
    found = demo.execute("SELECT address_hash, reason FROM email_suppressions").fetchall()
    assert found == [(address_hash(1, "jo@example.com"), "complaint")]


async def test_export_can_be_imported_again(suppress: Callable[..., str], demo: Demo, tmp_path: Path) -> None:
    suppress("jo@example.com", "complaint")
    suppress("emma@example.com", "unsubscribe")
    before = left(demo)
    await run(action="export")
    (tmp_path / "imports").mkdir()
    (tmp_path / "imports/list.csv").write_text("\n".join(only_export(tmp_path)))
    demo.execute("DELETE FROM email_suppressions")
    assert (await run(action="import", file="list.csv")).name == "Completed"
    assert left(demo) == before


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a@example.com\nno address\nb@example.com,spam\n", "line 2, 3: no address, or a reason other than"),
        (b"jo.example.com,complaint\nb@example.com,complaint\n", "line 1: no address"),
        (b"\xff\xfea", "the file is not CSV in UTF-8"),
        (b"\n".join([b"a@example.com", *[b"x"] * 9]), "line 2, 3, 4, 5, 6 and others"),
    ],
)
async def test_file_with_a_wrong_line_imports_nothing_and_stays(
    demo: Demo, tmp_path: Path, content: bytes, reason: str
) -> None:
    folder = tmp_path / "imports"
    folder.mkdir()
    (folder / "list.csv").write_bytes(content)
    state = await run(action="import", file="list.csv")
    assert state.name == "Refused"
    assert reason in str(state.message)
    assert "@" not in json.dumps(str(state.message))
    assert left(demo) == set()
    assert (folder / "list.csv").exists()


@pytest.mark.parametrize(
    "parameters",
    [
        {"action": "lift"}, {"hashes": ["0" * 64]}, {"action": "export", "registry": 1}, {"action": "import"},
        {"file": "a.csv"}, {"action": "import", "file": "../a.csv"}, {"action": "import", "file": "gone.csv"},
        {"action": "lift", "hashes": ["someone@example.com"]}, {"reason": "spam"},
        {"action": "lift", "registry": 999}, {"action": "lift", "registry": 200_000_001},  # of another shop
    ],
)  # fmt: skip
async def test_parameters_that_do_not_go_together_are_refused(parameters: dict[str, Any]) -> None:
    assert (await run(**parameters)).name == "Refused"
