"""`python -m api`: serves the API at API_HOST and API_PORT."""

import sys
from functools import partial

from api.app import create_app, create_service
from api.fast_path import FastPath, FastProtocol
from api.server import serve
from wishcraft.errors import ConfigurationError
from wishcraft.observability.logs import configure_logging
from wishcraft.observability.sentry import start_sentry
from wishcraft.settings import settings


def main() -> None:
    """Serve until a signal stops the process."""
    try:
        config = settings()
        configure_logging(config)
        start_sentry(config, "api")
        app = create_app(config)
    except ConfigurationError as error:
        sys.exit(f"WishCraft cannot start. {error}")
    serve(
        create_service(app),
        partial(FastProtocol, FastPath(app.state)),
        app.state,
        host=config.api_host,
        port=config.api_port,
        drain_seconds=config.drain_seconds,
    )


if __name__ == "__main__":
    main()
