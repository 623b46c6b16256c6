"""The analysts' database over the demo shops."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.support.aliases import Demo
from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.settings import Settings


@pytest.fixture
def db(demo: Demo, settings: Settings) -> Iterator[AnalystsDatabase]:
    """The database with the analysts' login."""
    with closing(AnalystsDatabase(str(settings.database_replica_url))) as opened:
        yield opened
