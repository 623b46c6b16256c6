"""The analysts' database over the demo shops."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from psycopg import Connection

from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.settings import Settings


@pytest.fixture
def db(demo: Connection[tuple[Any, ...]], settings: Settings) -> Iterator[AnalystsDatabase]:
    """The database with the analysts' login."""
    assert not demo.closed
    with closing(AnalystsDatabase(str(settings.database_replica_url))) as opened:
        yield opened
