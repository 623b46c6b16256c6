"""`python -m api`: serve the API at API_HOST and API_PORT."""

import sys

import uvicorn

from api.app import create_app
from wishcraft.errors import ConfigurationError
from wishcraft.settings import settings


def main() -> None:
    """Run until told to stop."""
    try:
        app = create_app()
    except ConfigurationError as error:
        sys.exit(f"WishCraft cannot start. {error}")
    uvicorn.run(
        app,
        host=settings().api_host,
        port=settings().api_port,
        loop="uvloop",
        http="httptools",
        access_log=False,  # a line per request costs more than the request; metrics count them
    )


if __name__ == "__main__":
    main()
