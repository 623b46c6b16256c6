"""The peer that is not Python: got by npm where there is one, and left out where there is not."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

import orjson

from benchmarks.web import ROOT

FOLDER: Final = ROOT / ".wishcraft" / "bench-node"
_PACKAGES: Final = {"fastify": "^5", "ioredis": "^5"}
_PATIENCE: Final = 180


class NoNodeError(Exception):
    """Why there is no Fastify on this machine, in a few words."""


def fastify_command() -> list[str]:
    """What starts it, in `FOLDER`, where its packages are installed if they are not yet.

    Raises:
        NoNodeError: This machine has no Node, or npm could not get the packages.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise NoNodeError("needs node and npm on PATH")
    if not all((FOLDER / "node_modules" / name / "package.json").is_file() for name in _PACKAGES):
        _install(npm)
    return [node, str(Path(__file__).with_name("fastify.cjs"))]


def _install(npm: str) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "package.json").write_bytes(orjson.dumps({"private": True, "dependencies": _PACKAGES}))
    command = [npm, "install", "--no-package-lock", "--silent", "--ignore-scripts"]
    try:
        subprocess.run(command, cwd=FOLDER, capture_output=True, check=True, timeout=_PATIENCE)  # noqa: S603  no input
    except (subprocess.SubprocessError, OSError) as error:
        raise NoNodeError("npm could not get its packages") from error
