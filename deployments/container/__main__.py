"""`python -m deployments.container PROGRAM ...`, the image's entrypoint: export Prefect's secrets, then exec PROGRAM.

Prefect reads settings only from the environment; WishCraft also reads secret files.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from wishcraft.settings import SECRETS


def with_prefect_secrets(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The environment with the secret files `prefect_*`: `prefect_api_auth_string` is PREFECT_API_AUTH_STRING.

    As for WishCraft's settings, a variable overrides its file, and an empty one of either counts as not set.
    """
    secrets = {file.name.upper(): file.read_text().strip() for file in folder.glob("prefect_*")}
    return {**environment, **{name: text for name, text in secrets.items() if text and not environment.get(name)}}


def main() -> None:
    """Replace this process by the program, so that it receives signals."""
    program = sys.argv[1:]
    os.execvpe(program[0], program, with_prefect_secrets(os.environ, SECRETS))  # noqa: S606  the image's own commands


if __name__ == "__main__":
    main()
