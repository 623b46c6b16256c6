"""`python3 deployments/container/make_secrets.py FOLDER`: generate the secrets of an installation.

Uses only the standard library. `shopify_api_secret` and `mail_url` come from elsewhere: add these files by hand.
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
        sys.exit(f"{folder} exists and was not changed: data encrypted with its keys is unreadable with others.")
    print(f"Created {', '.join(sorted(file.name for file in folder.iterdir()))} in {folder}.")


def make_secrets(folder: Path) -> None:
    """Create the folder, accessible only to its owner, with one file per secret.

    The files are world-readable because the containers run as another user; the folder keeps others out.

    Raises:
        FileExistsError: The folder exists.
    """
    folder.mkdir(mode=0o700)
    for name, content in _generate().items():
        (folder / name).write_text(content)
        (folder / name).chmod(0o444)


def _generate() -> dict[str, str]:
    wishcraft, analyst, prefect, ops = _password(), _password(), _password(), f"ops:{_password()}"
    return {
        "database_password_analyst": analyst,
        "database_password_wishcraft": wishcraft,
        "database_password_prefect": prefect,
        "database_replica_url": f"postgresql://wishcraft_analyst:{analyst}@postgres/wishcraft",
        "database_url": f"postgresql://wishcraft:{wishcraft}@postgres/wishcraft",
        "encryption_keys": urlsafe_b64encode(secrets.token_bytes(32)).decode(),  # a Fernet key
        "grafana_password": _password(),
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
