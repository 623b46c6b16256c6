"""The container image's Dockerfile and the example installation, parsed."""

import re
from pathlib import Path
from typing import Any, Final

import yaml

from deployments.sandbox.processes import ROOT

FOLDER: Final = ROOT / "deployments/container"
DOCKERFILE: Final = (FOLDER / "Dockerfile").read_text().replace("\\\n", " ")
SERVICES: Final[dict[str, dict[str, Any]]] = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
OURS: Final = {name: service for name, service in SERVICES.items() if service["image"].startswith("wishcraft:")}


def instructions(name: str) -> list[str]:
    """Arguments of the Dockerfile's instructions with this name, in order."""
    return re.findall(rf"^{name} +(.*)$", DOCKERFILE, re.MULTILINE)


def image_environment(temporary: Path = Path("/tmp")) -> dict[str, str]:  # noqa: S108  the image's own
    """The image's environment without PATH, with `temporary` instead of /tmp."""
    [words] = instructions("ENV")
    variables = dict(word.split("=", 1) for word in words.split())
    return {name: re.sub(r"^/tmp\b", str(temporary), value) for name, value in variables.items() if name != "PATH"}


def seconds(duration: str) -> float:
    """The seconds of a Compose duration such as `30s`."""
    return float(duration.removesuffix("s"))
