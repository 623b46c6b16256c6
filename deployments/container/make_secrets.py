"""`python3 deployments/container/make_secrets.py FOLDER`: makes the secrets that an installation can make up itself.

It needs nothing installed. What comes from elsewhere (`shopify_api_secret`, `smtp_url`) is put beside them by hand.
"""

import secrets
import sys
from base64 import urlsafe_b64encode
from pathlib import Path


def main() -> None:
    """Run the command line."""
    folder = Path(*sys.argv[1:2])
    try:
        make_secrets(folder)
    except FileExistsError:
        sys.exit(
            f"{folder} exists: it is left as it is, for what is encrypted with its keys can be read with no others."
        )
    print(f"Made {', '.join(sorted(file.name for file in folder.iterdir()))} in {folder}.")


def make_secrets(folder: Path) -> None:
    """Create the folder, for its owner alone, with a file for each secret.

    The files themselves may be read by all: what keeps others out is the folder, and the containers' user is another.

    Raises:
        FileExistsError: The folder exists.
    """
    folder.mkdir(mode=0o700)
    for name, content in _fresh().items():
        (folder / name).write_text(content)
        (folder / name).chmod(0o444)


def _fresh() -> dict[str, str]:
    wishcraft, analyst, prefect, ops = _password(), _password(), _password(), f"ops:{_password()}"
    return {
        "database_password_analyst": analyst,
        "database_password_wishcraft": wishcraft,
        "database_password_prefect": prefect,
        "database_replica_url": f"postgresql://wishcraft_analyst:{analyst}@postgres/wishcraft",
        "database_url": f"postgresql://wishcraft:{wishcraft}@postgres/wishcraft",
        "encryption_keys": urlsafe_b64encode(secrets.token_bytes(32)).decode(),  # what a Fernet key is
        "metrics_token": _password(),
        "postgres_password": _password(),
        "prefect_api_auth_string": ops,
        "prefect_server_api_auth_string": ops,
        "prefect_server_database_connection_url": f"postgresql+asyncpg://prefect:{prefect}@postgres/prefect",
        "redis_password": _password(),
    }


def _password() -> str:
    return secrets.token_urlsafe(32)


if __name__ == "__main__":
    main()
