"""A fake process of a run: it waits for a file."""

import os
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path


def wait_for_file(ready: Connection, _: Mapping[str, str], folder: str) -> None:
    """Exit once `folder` has the file `end`, or after a minute."""
    os.setsid()
    ready.send_bytes(b"ready")
    deadline = time.monotonic() + 60
    while not (Path(folder) / "end").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
