"""Prefect's server over an empty SQLite database, whose tables it makes at once: the migrations take 15 s of CPU."""

import gc

from fastapi import FastAPI
from prefect.server.api import server
from prefect.server.database.orm_models import Base
from prefect.settings import PREFECT_SERVER_DATABASE_CONNECTION_URL
from sqlalchemy import create_engine, make_url


def create_app() -> FastAPI:
    """The factory for uvicorn."""
    for table in Base.metadata.tables.values():  # some indexes are declared twice, on the column and on the table
        table.indexes = set({index.name: index for index in table.indexes}.values())
    engine = create_engine(make_url(str(PREFECT_SERVER_DATABASE_CONNECTION_URL.value())).set(drivername="sqlite"))
    Base.metadata.create_all(engine)
    engine.dispose()
    app = server.create_app()
    for each in (app, *server.API_APP_CACHE.values()):  # no client here needs compression, CORS or the UI's redirects
        each.user_middleware = [found for found in each.user_middleware if "RequestLimitMiddleware" in repr(found)]
    gc.collect()
    gc.freeze()  # the garbage collector would look through all of Prefect again and again
    return app
