"""What the container image and the example installation say, as values."""

import re
from pathlib import Path
from typing import Any, Final

import yaml

from deployments.local.workspace import ROOT

FOLDER: Final = ROOT / "deployments/container"
DOCKERFILE: Final = (FOLDER / "Dockerfile").read_text().replace("\\\n", " ")
SERVICES: Final[dict[str, dict[str, Any]]] = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
OURS: Final = {name: service for name, service in SERVICES.items() if service["image"].startswith("wishcraft:")}


def instructions(name: str) -> list[str]:
    """The arguments of the Dockerfile's instructions of that name, in order."""
    return re.findall(rf"^{name} +(.*)$", DOCKERFILE, re.MULTILINE)


def image_environment(temporary: Path = Path("/tmp")) -> dict[str, str]:  # noqa: S108  the image's own
    """The image's variables, PATH aside, with another folder in the place of its /tmp."""
    [words] = instructions("ENV")
    variables = dict(word.split("=", 1) for word in words.split())
    return {name: re.sub(r"^/tmp\b", str(temporary), value) for name, value in variables.items() if name != "PATH"}


def seconds(duration: str) -> float:
    """Of a duration in seconds, as Compose writes it."""
    return float(duration.removesuffix("s"))
