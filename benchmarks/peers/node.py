"""The Node.js peer, installed with npm; skipped without Node."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

import orjson

from deployments.sandbox.processes import ROOT

FOLDER: Final = ROOT / ".wishcraft" / "bench-node"
_PACKAGES: Final = {"fastify": "^5", "ioredis": "^5"}
_INSTALL_SECONDS: Final = 180


class NoNodeError(Exception):
    """Fastify is not available; the message has the reason."""


def fastify_command() -> list[str]:
    """The command that starts it in `FOLDER`; installs its packages if missing.

    Raises:
        NoNodeError: There is no Node, or npm could not install the packages.
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
        subprocess.run(command, cwd=FOLDER, capture_output=True, check=True, timeout=_INSTALL_SECONDS)  # noqa: S603  no input
    except (subprocess.SubprocessError, OSError) as error:
        raise NoNodeError("npm could not install its packages") from error
