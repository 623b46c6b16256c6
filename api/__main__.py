"""`python -m api`: serve the API at API_HOST and API_PORT."""

import uvicorn

from api.app import create_app
from wishcraft.settings import settings


def main() -> None:
    """Run until told to stop."""
    uvicorn.run(
        create_app(),
        host=settings().api_host,
        port=settings().api_port,
        loop="uvloop",
        http="httptools",
        access_log=False,  # a line per request costs more than the request; metrics count them
    )


if __name__ == "__main__":
    main()
