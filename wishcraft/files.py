"""Files that people fetch or a restore needs, in the folder that FILES_URL names, and how a file is written whole.

`runs/<run>/<name>` are served by the API; `erasures/<name>` is the journal of erasures.
"""

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from tempfile import mkstemp
from typing import Final
from urllib.parse import unquote, urlsplit

from wishcraft.errors import ConfigurationError

RUNS: Final = "runs"
ERASURES: Final = "erasures"
SERVED_AT: Final = "/files/"
"""Where the API serves the files of runs."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def file_path(run: str, name: str) -> str:
    """The path of a run's file in the API, below PUBLIC_URL."""
    return f"{SERVED_AT}{run}/{name}"


def folder_of(url: str) -> Path:
    """The folder of a `file:` URL: `file:///srv/wishcraft`, or `file:files` in the working directory.

    Raises:
        ValueError: It is another URL.
    """
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc or not parts.path or parts.query or parts.fragment:
        raise ValueError("must be the URL of a folder, such as file:///srv/wishcraft: no other storage is supported")
    return Path(unquote(parts.path))


def is_name(text: str) -> bool:
    """Whether a run or a file may have this name: letters, digits, `.`, `_` and `-`."""
    return _NAME.fullmatch(text) is not None


@contextmanager
def complete_file(file: Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `file` at the end of the block; after an error nothing is left.

    Raises:
        ConfigurationError: The folder cannot be created or written.
    """
    unfinished = file.with_name(f".{file.name}")  # no name of a file that is served
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        unfinished.replace(file)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):  # the file may not exist
            unfinished.unlink()


class FileStore:
    """Files in folders of one level. The functions block for as long as the disk does."""

    def __init__(self, url: str) -> None:
        """`url` is FILES_URL."""
        self._root = folder_of(url).absolute()

    def write(self, folder: str, name: str, content: bytes) -> None:
        """Store a file, for this user alone. Readers see it whole or not at all.

        Raises:
            ConfigurationError: The disk refuses it.
        """
        file = self._root / folder / name
        try:
            _make_folder(file.parent)
            descriptor, unfinished = mkstemp(prefix=".", dir=file.parent)
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(descriptor)  # what follows relies on it
            Path(unfinished).replace(file)
            _sync_folder(file.parent)
        except OSError as error:
            raise ConfigurationError(f"FILES_URL: a file cannot be written: {error.strerror}") from None

    def place(self, run: str, name: str) -> Path:
        """The path of a run's file that `complete_file` is to write. Its folder exists, for this user alone.

        Raises:
            ConfigurationError: The disk refuses the folder.
        """
        folder = self._root / RUNS / run
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"FILES_URL: a folder cannot be created: {error.strerror}") from None
        return folder / name

    def find(self, run: str, name: str) -> Path | None:
        """The file of a run; None if there is none, or a name leads elsewhere."""
        if not (is_name(run) and is_name(name)):
            return None
        file = self._root / RUNS / run / name
        is_inside = file.resolve() == self._root.resolve() / RUNS / run / name
        return file if is_inside and file.is_file() else None

    def delete_runs(self, prefix: str, is_wanted: Callable[[str, bytes], bool] | None = None) -> int:
        """Delete the files of all runs whose names begin so, or those that are wanted; their number.

        Args:
            prefix: Of the runs' names.
            is_wanted: Whether a file is to be deleted, by the name of its run and its content.

        Raises:
            ConfigurationError: The disk refuses it.
        """
        files = [file for run in self._folders() if run.name.startswith(prefix) for file in _files_in(run)]
        if is_wanted:
            contents = ((file, _read(file)) for file in files)
            files = [file for file, content in contents if content is not None and is_wanted(file.parent.name, content)]
        return self.delete(files)

    def read(self, folder: str, name: str) -> bytes | None:
        """The content of a file; None if there is none.

        Raises:
            ConfigurationError: The disk refuses it.
        """
        return _read(self._root / folder / name)

    def read_all(self, folder: str) -> Iterator[tuple[str, bytes]]:
        """Names and contents of a folder's files, in the order of their names.

        Raises:
            ConfigurationError: The disk refuses it.
        """
        for file in _files_in(self._root / folder):
            if is_name(file.name) and (content := _read(file)) is not None:
                yield file.name, content

    def find_old(self, folder: str, before: datetime) -> list[Path]:
        """Files older than this moment: of all runs, or of the folder `erasures`."""
        folders = self._folders() if folder == RUNS else [self._root / folder]
        old = []
        for file in (file for each in folders for file in _files_in(each)):
            with suppress(FileNotFoundError):  # another process has deleted it
                if file.stat().st_mtime < before.timestamp():
                    old.append(file)
        return old

    def delete_from(self, folder: str, names: Iterable[str]) -> None:
        """Delete the files of these names from a folder, as far as there are any.

        Raises:
            ConfigurationError: The disk refuses it.
        """
        self.delete([self._root / folder / name for name in names])

    def delete(self, files: list[Path]) -> int:
        """Delete these files, with the runs that are empty then; their number.

        Raises:
            ConfigurationError: The disk refuses it.
        """
        return sum(map(self._delete, files))

    def _folders(self) -> list[Path]:
        return [each for each in _files_in(self._root / RUNS) if each.is_dir()]

    def _delete(self, file: Path) -> int:
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigurationError(f"FILES_URL: a file cannot be deleted: {error.strerror}") from None
        with suppress(OSError):  # another file is in it
            if file.parent.parent.name == RUNS:
                file.parent.rmdir()
        return 1


def _files_in(folder: Path) -> list[Path]:
    """The folder's entries by name; none if there is no such folder, which another process may just have deleted."""
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigurationError(f"FILES_URL: a folder cannot be read: {error.strerror}") from None


def _read(file: Path) -> bytes | None:
    """The file's content; None if there is none, which another process may just have deleted."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"FILES_URL: a file cannot be read: {error.strerror}") from None


def _make_folder(folder: Path) -> None:
    """Make the folder, for this user alone, and those above it. The names of new ones outlive a power failure."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in missing:
        _sync_folder(each.parent)


def _sync_folder(folder: Path) -> None:
    """Let a new name in the folder outlive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network shares cannot sync a folder
            raise
    finally:
        os.close(descriptor)
