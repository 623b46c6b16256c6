"""`python -m deployments.webhooks`: the consumer of webhooks. Any number of them may run.

On SIGTERM or SIGINT it finishes what it has taken and exits with 0; what it cannot finish is delivered to another.
"""

import wishcraft.interrupts  # noqa: F401  it must be the first import

# isort: split
import argparse
import asyncio
import gc
import logging
import os
import secrets
import signal
import socket
import sys
from pathlib import Path
from typing import Final

from deployments.argument_types import seconds
from wishcraft.errors import ConfigurationError
from wishcraft.observability.logs import configure_logging
from wishcraft.observability.sentry import start_sentry
from wishcraft.resources import open_resources
from wishcraft.services.mail_events.bounce_server import serve_bounces
from wishcraft.services.webhooks.consume import Consumer
from wishcraft.services.webhooks.handlers import HANDLERS
from wishcraft.settings import Settings, settings

DRAIN_SECONDS: Final = 20.0
"""How long it may finish what it has taken."""
_log: Final = logging.getLogger("wishcraft.deployments.webhooks")


async def consume(configured: Settings, drain_seconds: float, heartbeat: Path | None) -> None:
    """Handle webhooks until SIGTERM or SIGINT; touches `heartbeat` every five seconds while PostgreSQL answers."""
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    # The breaker: while Redis hangs, no write holds its registries for as long as it waits for an answer.
    async with (
        open_resources(configured, redis_timeout=5, redis_circuit_breaker=True) as resources,
        serve_bounces(resources, configured),
    ):
        consumer = Consumer(resources, HANDLERS, name, heartbeat.touch if heartbeat else lambda: None)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, consumer.stop)
        gc.freeze()  # collecting what was imported takes 0.1 s each time, and finds no garbage
        _log.info("The consumer of webhooks %s is ready", name)
        running = asyncio.create_task(consumer.run())
        await consumer.stopped.wait()
        try:
            await asyncio.wait_for(running, drain_seconds)
        except TimeoutError:
            _log.warning("Some webhooks were not finished in %g s; another consumer handles them", drain_seconds)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m deployments.webhooks", description=__doc__)
    parser.add_argument(
        "--drain", type=seconds, default=DRAIN_SECONDS, metavar="SECONDS", help="time to finish after SIGTERM"
    )
    parser.add_argument(
        "--heartbeat", type=Path, metavar="FILE", help="touched every 5 s while PostgreSQL answers, for health checks"
    )
    args = parser.parse_args()
    try:
        configured = settings()
        configure_logging(configured)
        start_sentry(configured, "webhooks")
    except ConfigurationError as error:
        sys.exit(f"The consumer of webhooks cannot start. {error}")
    try:
        asyncio.run(consume(configured, args.drain, args.heartbeat))
    except ConfigurationError as error:
        sys.exit(f"The consumer of webhooks cannot start. {error}")


if __name__ == "__main__":
    main()
