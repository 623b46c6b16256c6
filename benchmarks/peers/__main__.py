"""`python -m benchmarks.peers NAME`: serve the `app` of that module at API_PORT with the API's server, uvicorn."""

import os
import sys
from importlib import import_module

import uvicorn


def main(name: str) -> None:
    """Serve until a signal. The module may have a `Protocol` of its own."""
    module = import_module(f"benchmarks.peers.{name}")
    protocol = getattr(module, "Protocol", "httptools")
    uvicorn.run(
        module.app,
        host="127.0.0.1",
        port=int(os.environ["API_PORT"]),
        loop="uvloop",
        http=protocol,
        lifespan="auto" if protocol == "httptools" else "off",
        access_log=False,
    )


if __name__ == "__main__":
    main(sys.argv[1])
