"""`python -m deployments.container PROGRAM ...`, the image's entrypoint: gives Prefect its secrets, then is PROGRAM.

Prefect reads its settings from the environment alone; ours come from files too.
"""

import os
import sys
from pathlib import Path

from wishcraft.settings import SECRETS


def prefect_secrets(folder: Path) -> dict[str, str]:
    """Prefect's variables among the secrets: `prefect_api_auth_string` becomes PREFECT_API_AUTH_STRING, and so on."""
    return {file.name.upper(): file.read_text().strip() for file in folder.glob("prefect_*")}


def main() -> None:
    """Become the program, in this very process, so that it gets the signals; its environment goes before the files."""
    program = sys.argv[1:]
    os.execvpe(program[0], program, prefect_secrets(SECRETS) | os.environ)  # noqa: S606  the image's own commands


if __name__ == "__main__":
    main()
