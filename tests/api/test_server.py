"""The server's start."""

import gc
import socket
from types import SimpleNamespace

from fastapi import FastAPI

from api.server import DrainingServer, LimitedProtocol, make_config


async def test_garbage_is_not_looked_for_in_what_was_there_at_the_start() -> None:
    config = make_config(FastAPI(), LimitedProtocol)
    config.lifespan = "off"
    config.load()
    server = DrainingServer(config, SimpleNamespace(), 0)
    server.lifespan = config.lifespan_class(config)
    thresholds = gc.get_threshold()
    gc.unfreeze()  # what the session of the tests leaves out
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        try:
            await server.startup([listener])
            kept, left = gc.get_freeze_count(), len(gc.get_objects())
        finally:
            await server.shutdown()
            gc.freeze()
            gc.set_threshold(*thresholds)
    assert kept > 10 * left
