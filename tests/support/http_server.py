"""HTTP servers of this process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from tests.support.waiting import block_until


@contextmanager
def served(app: ASGIApp, http: Any = "auto") -> Iterator[str]:
    """Serve the application in a thread, on a port of its own, with uvicorn's or the given protocol: its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", http=http))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    block_until(lambda: server.started, "the server did not start", pause=0.005)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)
