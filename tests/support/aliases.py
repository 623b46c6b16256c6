"""Types of fixtures that many tests use."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

import httpx
from psycopg import Connection

from wishcraft.settings import Settings

Demo: TypeAlias = Connection[tuple[Any, ...]]
"""A connection to the database of the demo shops, in autocommit mode."""
OpenClient: TypeAlias = Callable[[Settings], AbstractAsyncContextManager[httpx.AsyncClient]]
"""Opens a client of an API with these settings."""
