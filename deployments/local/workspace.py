"""The folder `.wishcraft`: what the local stack keeps between runs, and the lock that lets one run at a time."""

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.fernet import Fernet

from deployments.sandbox.processes import writable
from wishcraft.errors import ConfigurationError

ROOT: Final = Path(__file__).resolve().parents[2]
_SURVIVES_RESET: Final = ("lock", "admin_*.json.gz")  # the latter: Shopify's schema, slow to fetch and no one's data


@dataclass(frozen=True, slots=True)
class Workspace:
    """The paths below one `.wishcraft`."""

    folder: Path

    @property
    def logs(self) -> Path:
        """Where each child's output goes."""
        return self.folder / "logs"

    @property
    def board(self) -> Path:
        """Where a running stack says where it answers; absent while anything is not ready."""
        return self.folder / "board.json"

    @property
    def temporary(self) -> Path:
        """The children's folder for temporary files, emptied by each start: killed flow runs leave theirs behind."""
        return self.folder / "tmp"

    @contextmanager
    def locked(self, mark: str) -> Iterator[str]:
        """Hold the lock, leave `mark` in it, and yield the mark of the stack before ('' at first).

        Raises:
            ConfigurationError: Another stack holds it, or the folder cannot be written.
        """
        with writable(self.folder):
            self.logs.mkdir(exist_ok=True)
            file = (self.folder / "lock").open("a+")
        with file:
            file.seek(0)
            pid, _, previous = file.read().partition(" ")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigurationError(f"the stack of this checkout already runs, as process {pid}") from None
            shutil.rmtree(self.temporary, ignore_errors=True)
            self.temporary.mkdir(mode=0o700)
            file.truncate(0)
            file.write(f"{os.getpid()} {mark}")
            file.flush()
            yield previous

    def secrets(self) -> dict[str, str]:
        """The sandbox's own secrets, as environment variables: generated once, then kept."""
        file = self.folder / "secrets.json"
        if not file.exists():
            fresh = {
                "ENCRYPTION_KEYS": Fernet.generate_key().decode(),
                "SHOPIFY_API_KEY": "wishcraft-sandbox",
                "SHOPIFY_API_SECRET": secrets.token_hex(32),
            }
            write_private_json(file, fresh)
        kept: dict[str, str] = json.loads(file.read_text())
        return kept

    def wipe(self) -> None:
        """Delete everything but the lock, which the caller holds, and copies of Shopify's schema."""
        for path in self.folder.iterdir():
            if any(path.match(pattern) for pattern in _SURVIVES_RESET):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def write_private_json(path: Path, content: Any) -> None:
    """Replace the file at once, readable by its owner alone."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with open(fresh, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        json.dump(content, file, indent=2)
    fresh.replace(path)
