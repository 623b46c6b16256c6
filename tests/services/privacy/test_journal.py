"""The journal of erasures: a restored backup is erased again, and what was added since stays."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from prefect import get_client
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from flows.replay_erasures import replay_erasures
from tests.support.aliases import Demo
from tests.support.api import SHOP, Shopper
from tests.support.dump import dump, restore
from tests.support.erased_person import (
    CUSTOMER,
    EMAIL,
    NAMES,
    ONE_STEP,
    REDACT,
    REGISTRANT,
    SHOP_REDACT,
    handle,
    receive,
    redact,
)
from tests.support.prefect_artifacts import table_of
from tests.support.residual_data import traces_in_postgresql
from wishcraft.domain.webhooks import DATA_REQUEST
from wishcraft.errors import ConfigurationError
from wishcraft.files import FileStore
from wishcraft.resources import Resources
from wishcraft.services.privacy import journal
from wishcraft.services.webhooks.handlers import HANDLERS
from wishcraft.services.webhooks.process import process
from wishcraft.store import shop_erasure

pytestmark = pytest.mark.usefixtures("prefect_server", "worker_environment")


def entries(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted((folder / "erasures").iterdir())]


async def prefect_has(*names: object) -> list[str]:
    """The texts among these that Prefect has: in parameters, states, logs and artifacts of any run."""
    async with get_client() as client:
        found: list[BaseModel] = [
            *await client.read_flow_runs(),
            *await client.read_task_runs(),
            *await client.read_logs(),
            *await client.read_artifacts(),
        ]
    everything = "\n".join(each.model_dump_json() for each in found).lower()
    assert "replay-erasures" in everything
    return [name for name in map(str, names) if name in everything]


async def test_restored_backup_is_erased_again_and_what_came_later_stays(
    demo: Demo, resources: Resources, planted: str, tmp_path: Path
) -> None:
    receive(demo, DATA_REQUEST, REDACT | {"orders_requested": []})
    await handle(resources, demo)
    [run] = (tmp_path / "runs").iterdir()
    before, files = dump(demo), run.rename(tmp_path / "backup")
    await redact(demo, resources)
    restore(demo, before)
    files.rename(run)
    assert {"registries", "purchases", "webhook_events"} <= traces_in_postgresql(demo, planted, *NAMES)
    later = demo.execute(
        """INSERT INTO registries (shop_id, slug, title, event_type, visibility, customer_id, customer_email,
               customer_first_name, customer_last_name)
           SELECT 1, 'back-again', 'Back', 'general', 'public', %s, %s, 'Z', 'Q' RETURNING id""",
        [CUSTOMER, EMAIL],
    ).fetchone()
    dry = await replay_erasures(dry_run=True, return_state=True)
    assert dry.message == "1 erasure: 2 registries."
    assert "purchases" in traces_in_postgresql(demo, planted, *NAMES)
    state = await replay_erasures(return_state=True)
    assert state.is_completed(), state.message
    [row] = await table_of(state)
    assert (row["registries"], row["named in"]) == (1, 1)
    assert traces_in_postgresql(demo, planted, *NAMES) == {"registries"}
    assert not run.exists()
    assert demo.execute("SELECT id FROM registries WHERE customer_id = %s", [CUSTOMER]).fetchall() == [later]
    [(actor, details)] = demo.execute("SELECT actor, metadata FROM audit_logs WHERE resource = 'erasure'").fetchall()
    assert (actor, details["registries"]) == ("replay-erasures", 1)
    assert await prefect_has(*NAMES, planted) == []
    again = await replay_erasures(return_state=True)
    assert again.message == "1 erasure: nothing to do."


async def test_person_whom_an_older_registry_has_named_again_since_stays(
    demo: Demo, resources: Resources, hugo: Shopper
) -> None:
    as_contact = REGISTRANT | {"first_name": "Hugo"}
    slugs = await hugo.create(title="One", co_registrants=[REGISTRANT]), await hugo.create(registrant=as_contact)
    await redact(demo, resources)
    for slug, values in zip(slugs, ({"co_registrants": [REGISTRANT]}, {"registrant": as_contact}), strict=True):
        changed = await hugo.send("PATCH", f"/api/registries/{slug}", values, if_match="*")
        assert changed.status_code == 200, changed.text
    find = "SELECT customer_email, co_registrants, version FROM registries WHERE slug = ANY(%s) ORDER BY id"
    before = demo.execute(find, [list(slugs)]).fetchall()
    [entry] = await journal.read(resources.files)
    assert not any((await journal.replay(resources, entry, dry_run=False)).values())
    assert demo.execute(find, [list(slugs)]).fetchall() == before


async def test_erased_shop_of_a_restored_backup_is_erased_again(demo: Demo, resources: Resources, planted: str) -> None:
    before = dump(demo)
    demo.execute("UPDATE shops SET status = 'uninstalled', installed_at = now() - interval '1 year' WHERE id = 1")
    await redact(demo, resources)
    await redact(demo, resources, SHOP_REDACT, "shop/redact")
    assert demo.execute("SELECT count(*) FROM shops WHERE id = 1").fetchone() == (0,)
    restore(demo, before)
    state = await replay_erasures(return_state=True)
    assert state.is_completed(), state.message
    active = "SELECT array_agg(id ORDER BY id) FROM shops WHERE status = 'active'"
    assert demo.execute(active).fetchone() == ([2, 3],)
    assert traces_in_postgresql(demo, planted, '"shop_id": 1,', *NAMES) == set()


@pytest.mark.parametrize("change", ["created_at = now()", "status = 'active', installed_at = now()"])
async def test_shop_that_was_added_or_installed_the_app_after_its_erasure_stays(
    demo: Demo, resources: Resources, change: str
) -> None:
    demo.execute("UPDATE shops SET status = 'uninstalled', installed_at = now() - interval '1 year' WHERE id = 1")
    before = dump(demo)
    await redact(demo, resources, SHOP_REDACT, "shop/redact")
    restore(demo, before)
    demo.execute(f"UPDATE shops SET {change} WHERE id = 1".encode())  # noqa: S608  ours
    state = await replay_erasures(return_state=True)
    assert state.message == "1 erasure: nothing to do."
    assert demo.execute("SELECT count(*) FROM registries WHERE shop_id = 1").fetchone() == (4,)


@pytest.mark.parametrize("installed_at", ["now()", "now() - interval '1 year'"])
async def test_shop_that_installed_the_app_during_its_erasure_is_not_erased_by_a_replay(
    demo: Demo, resources: Resources, tmp_path: Path, installed_at: str
) -> None:
    demo.execute("UPDATE shops SET status = 'uninstalled', installed_at = now() - interval '1 year' WHERE id = 1")
    row_id = await redact(demo, resources, SHOP_REDACT, "shop/redact", ONE_STEP)
    assert len(entries(tmp_path)) == 1
    demo.execute(f"UPDATE shops SET status = 'active', installed_at = {installed_at} WHERE id = 1".encode())  # noqa: S608  ours
    await process(resources, HANDLERS, SHOP, [row_id])
    assert demo.execute("SELECT outcome FROM webhook_events WHERE id = %s", [row_id]).fetchone() == ("ignored",)
    assert entries(tmp_path) == []
    await replay_erasures(return_state=True)
    assert demo.execute("SELECT count(*) FROM registries WHERE shop_id = 1").fetchone() == (4,)


async def test_shop_that_installs_the_app_while_it_is_asked_for_is_later_than_the_entry(
    demo: Demo, resources: Resources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_installation = shop_erasure.find_installation

    async def find_then_install(session: AsyncSession, shop_id: int) -> Any:
        found = await find_installation(session, shop_id)
        demo.execute("UPDATE shops SET status = 'active', installed_at = clock_timestamp() WHERE id = 1")
        return found

    monkeypatch.setattr(shop_erasure, "find_installation", find_then_install)
    demo.execute("UPDATE shops SET status = 'uninstalled', installed_at = now() - interval '1 year' WHERE id = 1")
    add, added = journal.add, list[journal.JournalEntry]()

    async def record(files: FileStore, new: Iterable[journal.JournalEntry]) -> None:
        added.extend(new)
        await add(files, added)

    monkeypatch.setattr(journal, "add", record)
    await redact(demo, resources, SHOP_REDACT, "shop/redact")
    row = demo.execute("SELECT installed_at FROM shops WHERE id = 1").fetchone()
    assert row
    assert added[0].at < row[0]
    assert entries(tmp_path) == []


async def test_entry_has_numbers_and_hashes_and_one_redaction_adds_one(
    demo: Demo, resources: Resources, tmp_path: Path
) -> None:
    await redact(demo, resources)
    [entry] = entries(tmp_path)
    assert set(entry) == {"topic", "shop", "shop_id", "at", "customers", "orders", "contacts"}
    assert (entry["customers"], entry["orders"]) == ([CUSTOMER], REDACT["orders_to_redact"])
    assert all(len(bytes.fromhex(contact)) == 32 for contact in entry["contacts"])
    assert not [name for name in map(str, NAMES[:3]) if name in json.dumps(entry).lower()]
    [file] = (tmp_path / "erasures").iterdir()
    assert file.stat().st_mode & 0o077 == 0


async def test_nothing_is_erased_while_the_journal_cannot_be_written(
    demo: Demo, resources: Resources, tmp_path: Path
) -> None:
    (tmp_path / "erasures").write_text("a file in the way")
    row_id = receive(demo, "customers/redact", REDACT)
    demo.execute("UPDATE registries SET customer_id = %s WHERE shop_id = 1", [CUSTOMER])
    await redact(demo, resources)
    assert demo.execute("SELECT count(*) FROM registries WHERE customer_id = %s", [CUSTOMER]).fetchone() == (4,)
    assert demo.execute("SELECT handled_at, attempts FROM webhook_events WHERE id = %s", [row_id]).fetchone() == (
        None, 1,
    )  # fmt: skip


async def test_damaged_entry_fails_the_replay_by_name(demo: Demo, resources: Resources, tmp_path: Path) -> None:
    await redact(demo, resources)
    [file] = (tmp_path / "erasures").iterdir()
    for damaged in ("{", "[]", "{}"):
        file.write_text(damaged)
        with pytest.raises(ConfigurationError, match=file.name):
            await journal.read(resources.files)
    state = await replay_erasures(return_state=True)
    assert state.is_failed()
    assert file.name in str(state.message)
