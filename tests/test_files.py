"""Files of FILES_URL while other processes delete them, and after a power failure."""

import errno
import os
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISDIR

import pytest

from wishcraft.errors import ConfigurationError
from wishcraft.files import ERASURES, RUNS, FileStore

LATER = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """A store with two runs of one file each, and two entries of the journal."""
    store = FileStore(tmp_path.as_uri())
    for folder, name in (
        (f"{RUNS}/first", "report.html"),
        (f"{RUNS}/second", "report.html"),
        (ERASURES, "a.json"),
        (ERASURES, "b.json"),
    ):
        store.write(folder, name, b"{}")
    return store


def test_runs_that_another_process_deletes_meanwhile_are_passed_over(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = store._folders()
    assert store.delete_runs("first") == 1
    monkeypatch.setattr(store, "_folders", lambda: listed)
    assert [file.parent.name for file in store.find_old(RUNS, LATER)] == ["second"]
    assert store.delete_runs("", lambda run, _: run == "first") == 0
    assert store.delete_runs("") == 1


def test_entry_that_another_process_deletes_meanwhile_is_passed_over(store: FileStore) -> None:
    entries = store.read_all(ERASURES)
    assert next(entries) == ("a.json", b"{}")
    store.delete_from(ERASURES, ["b.json"])
    assert list(entries) == []
    assert store.read(ERASURES, "b.json") is None


def test_folder_that_cannot_be_read_is_named_with_its_setting(tmp_path: Path) -> None:
    (tmp_path / ERASURES).write_text("a file in place of the folder")
    with pytest.raises(ConfigurationError, match=r"^FILES_URL: a folder cannot be read: Not a directory$"):
        list(FileStore(tmp_path.as_uri()).read_all(ERASURES))


def test_file_and_its_name_are_on_the_disk_when_it_is_written(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: on_disk.append(S_ISDIR(os.fstat(descriptor).st_mode)))
    store.write(ERASURES, "c.json", b"{}")
    assert on_disk == [False, True]


def test_names_of_new_folders_are_on_the_disk_when_a_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk: set[int] = set()
    monkeypatch.setattr(os, "fsync", lambda descriptor: on_disk.add(os.fstat(descriptor).st_ino))
    root = tmp_path / "srv" / "files"
    FileStore(root.as_uri()).write(ERASURES, "a.json", b"{}")
    folders = [tmp_path, root.parent, root, root / ERASURES]
    assert on_disk == {each.stat().st_ino for each in [*folders, root / ERASURES / "a.json"]}


def refuse_to_sync_folders(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let each fsync of a folder fail with this error."""

    def fsync(descriptor: int) -> None:
        if S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)


def test_network_share_that_cannot_sync_folders_takes_files(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_to_sync_folders(monkeypatch, errno.EINVAL)
    store.write(ERASURES, "c.json", b"{}")
    assert store.read(ERASURES, "c.json") == b"{}"


def test_disk_that_fails_to_sync_a_folder_is_an_error(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_to_sync_folders(monkeypatch, errno.EIO)
    with pytest.raises(ConfigurationError, match=r"^FILES_URL: a file cannot be written: Input/output error$"):
        store.write(ERASURES, "c.json", b"{}")
