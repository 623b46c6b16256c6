"""`python -m deployments.container PROGRAM ...`, the image's entrypoint: export Prefect's secrets, then exec PROGRAM.

Prefect reads settings only from the environment; WishCraft also reads secret files.
"""

import os
import sys
from pathlib import Path

from wishcraft.settings import SECRETS


def prefect_secrets(folder: Path) -> dict[str, str]:
    """Environment variables from the secret files `prefect_*`: `prefect_api_auth_string` is PREFECT_API_AUTH_STRING."""
    return {file.name.upper(): file.read_text().strip() for file in folder.glob("prefect_*")}


def main() -> None:
    """Replace this process by the program, so that it receives signals. The environment overrides the files."""
    program = sys.argv[1:]
    os.execvpe(program[0], program, prefect_secrets(SECRETS) | os.environ)  # noqa: S606  the image's own commands


if __name__ == "__main__":
    main()
