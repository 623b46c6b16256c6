"""`python -m api`: serves the API at API_HOST and API_PORT."""

import api.lean_imports  # noqa: F401  it must precede all libraries
import wishcraft.interrupts  # noqa: F401  it must precede what takes long

# isort: split
import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from api.app import create_app, create_service
from api.fast_path import FastProtocol
from api.server import serve
from wishcraft.errors import ConfigurationError
from wishcraft.observability.logs import configure_logging
from wishcraft.observability.sentry import start_sentry
from wishcraft.settings import settings


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until a signal stops the process."""
    argparse.ArgumentParser(prog="python -m api", description=__doc__).parse_args(arguments)
    try:
        config = settings()
        configure_logging(config)
        start_sentry(config, "api")
        app = create_app(config)
    except ConfigurationError as error:
        sys.exit(f"WishCraft cannot start. {error}")
    with suppress(KeyboardInterrupt):  # uvicorn raises it again when it has stopped
        serve(
            create_service(app),
            partial(FastProtocol, app.state),
            app.state,
            host=config.api_host,
            port=config.api_port,
            drain_seconds=config.drain_seconds,
        )


if __name__ == "__main__":
    main()
