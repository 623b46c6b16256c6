"""Files that only their owner can read, and generated secrets in them."""

import os
import secrets
from pathlib import Path


def open_private(path: str, flags: int) -> int:
    """An `opener` for `open`: a new file is readable only by its owner."""
    return os.open(path, flags, 0o600)


def read_or_create_secret(file: Path, prefix: str = "") -> str:
    """The secret in `file`; at the first call `prefix` and 192 random bits."""
    if not file.exists() or not file.stat().st_size:
        unfinished = file.with_name(f"{file.name}.new")  # a process killed in between leaves no empty secret
        unfinished.unlink(missing_ok=True)
        with open(unfinished, "x", opener=open_private) as new:
            new.write(prefix + secrets.token_urlsafe(24))
        unfinished.replace(file)
    return file.read_text()
