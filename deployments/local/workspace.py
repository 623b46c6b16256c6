"""The folder `.wishcraft`: data that the local stack keeps between runs, and its lock."""

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any, Final

from cryptography.fernet import Fernet

from deployments.sandbox.processes import ROOT, writable_folder
from deployments.sandbox.secret_files import open_private, read_or_create_secret
from wishcraft.errors import ConfigurationError

DEFAULT_FOLDER: Final = ROOT / ".wishcraft"
_PROGRAM: Final = ".venv/bin/python -m deployments.local"
_SURVIVES_RESET: Final = ("lock", "admin_*.json.gz", "shopify-api")  # the latter are Shopify's, slow to download


@dataclass(frozen=True, slots=True)
class Workspace:
    """The paths in one `.wishcraft` folder."""

    folder: Path

    @property
    def logs(self) -> Path:
        """Folder of the log files."""
        return self.folder / "logs"

    @property
    def stack_info(self) -> Path:
        """File with the addresses of the running stack; exists only while all services are ready."""
        return self.folder / "board.json"

    @property
    def demo(self) -> Path:
        """File with the keys and some slugs of the demo shops."""
        return self.folder / "demo.json"

    @property
    def temporary(self) -> Path:
        """Folder of temporary files. Each start empties it, because killed flow runs leave files behind."""
        return self.folder / "tmp"

    @property
    def prefect_password_file(self) -> Path:
        """File with the login of Prefect's UI and API, as `user:password`."""
        return self.folder / "prefect_password"

    def shown(self, path: Path) -> str:
        """The path as commands in the checkout write it: `.wishcraft/logs`, or the whole path of another folder."""
        return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)

    def command(self, name: str) -> str:
        """The command line for this stack: `make down`, or the program with another folder."""
        if self.folder == DEFAULT_FOLDER:
            return f"make {name}"
        return f"{_PROGRAM} --folder {quote(str(self.folder))} {name}"

    @contextmanager
    def locked(self, stack_id: str) -> Iterator[str]:
        """Hold the lock, write `stack_id` into it, and yield the id of the previous stack ('' at first).

        Only its owner may enter the folder from now on.

        Raises:
            ConfigurationError: Another stack holds it, or the folder cannot be written.
        """
        with writable_folder(self.folder):
            self.folder.chmod(0o700)
            self.logs.mkdir(exist_ok=True)
            file = (self.folder / "lock").open("a+")
        with file:
            file.seek(0)
            pid, _, previous = file.read().partition(" ")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigurationError(
                    f"the stack of {self.shown(self.folder)} already runs as process {pid}; stop it first: "
                    f"`{self.command('down')}`"
                ) from None
            shutil.rmtree(self.temporary, ignore_errors=True)
            self.temporary.mkdir(mode=0o700)
            file.truncate(0)
            file.write(f"{os.getpid()} {stack_id}")
            file.flush()
            yield previous

    def holder(self) -> int | None:
        """The process that runs a stack here, None if there is none."""
        try:
            file = (self.folder / "lock").open("r")
        except FileNotFoundError:
            return None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read().partition(" ")[0])
        return None

    def secrets(self) -> dict[str, str]:
        """The sandbox's secrets as environment variables: generated once and kept."""
        file = self.folder / "secrets.json"
        if not file.exists():
            new = {
                "ENCRYPTION_KEYS": Fernet.generate_key().decode(),
                "SHOPIFY_API_KEY": "wishcraft-sandbox",
                "SHOPIFY_API_SECRET": secrets.token_hex(32),
            }
            write_private_json(file, new)
        stored: dict[str, str] = self._read_json(file)
        return stored

    def check_files(self) -> None:
        """Refuse JSON files that no process of the stack could read, except those that each start writes again.

        Raises:
            ConfigurationError: A file is not what the stack wrote.
        """
        for file in sorted(self.folder.glob("*.json")):
            if file not in {self.stack_info, self.demo}:
                self._read_json(file)

    def _read_json(self, file: Path) -> dict[str, Any]:
        try:
            found = json.loads(file.read_bytes())
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ConfigurationError(
                f"{self.shown(file)} is not the JSON that the stack wrote: restore it, or delete all data of the stack"
                f" with `{self.command('reset')}`"
            )
        return found

    def prefect_password(self) -> str:
        """The login of Prefect's UI and API, as `user:password`: generated once and kept."""
        return read_or_create_secret(self.prefect_password_file, prefix="ops:")

    def has_data(self) -> bool:
        """Whether a stack has run in this folder and left something that `delete_data` would delete."""
        return (self.folder / "lock").exists() and bool(self._data())

    def delete_data(self) -> None:
        """Delete all files except the lock, which the caller holds, and copies of Shopify's schema and package."""
        for path in self._data():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _data(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if not any(path.match(pattern) for pattern in _SURVIVES_RESET)]


def write_private_json(path: Path, content: Any) -> None:
    """Replace the file atomically, readable only by its owner."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with open(new, "x", opener=open_private) as file:
        json.dump(content, file, indent=2)
    new.replace(path)
