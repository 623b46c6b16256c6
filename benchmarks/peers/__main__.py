"""`python -m benchmarks.peers NAME`: serve the `app` of that module at API_PORT, by the server that the API has."""

import os
import sys
from importlib import import_module

import uvicorn


def main(name: str) -> None:
    """Run until told to stop."""
    uvicorn.run(
        import_module(f"benchmarks.peers.{name}").app,
        host="127.0.0.1",
        port=int(os.environ["API_PORT"]),
        loop="uvloop",
        http="httptools",
        access_log=False,
    )


if __name__ == "__main__":
    main(sys.argv[1])
