"""Translates the errors of SQLAlchemy and psycopg into those of `wishcraft.errors`, for everything that queries."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from sqlalchemy import exc

from wishcraft.errors import DatabaseBusy, DatabaseRefused, DatabaseUnavailable, in_words

# A refused or lost connection, a full pool, a timeout of a lock, a statement or a transaction, a deadlock or a
# serialization failure, a server that shuts down, is read-only after a failover, or has no disk or memory left.
# psycopg raises OperationalError for a failed socket; OSError is not included, because other code raises it too.
_UNAVAILABLE: Final = (
    exc.OperationalError,
    exc.InterfaceError,
    exc.InternalError,
    exc.TimeoutError,
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.InternalError,
)
_REFUSED: Final = (exc.DataError, psycopg.DataError)
_UNSUPPORTED: Final = (exc.NotSupportedError, psycopg.NotSupportedError)


@contextmanager
def translate_database_errors() -> Iterator[None]:
    """Translate what the block raises; the original error becomes the cause.

    IntegrityError, ProgrammingError and NotSupportedError pass unchanged: they are bugs, or the caller handles them;
    except that of a prepared statement which a migration has outdated.

    Raises:
        DatabaseUnavailable: The same query may succeed later.
        DatabaseRefused: PostgreSQL cannot store or compute a value, and will refuse it again.
    """
    try:
        yield
    except _UNAVAILABLE as error:
        is_busy = isinstance(_original(error), psycopg.errors.LockNotAvailable)
        raise (DatabaseBusy if is_busy else DatabaseUnavailable)(_describe(error)) from error
    except _REFUSED as error:
        raise DatabaseRefused(in_words(_original(error))) from error  # its text may quote the value
    except _UNSUPPORTED as error:
        if not is_outdated_plan(_original(error)):
            raise
        raise DatabaseUnavailable(_describe(error)) from error


def is_outdated_plan(error: BaseException) -> bool:
    """Whether a prepared statement failed because a migration has changed the types of its columns since."""
    return isinstance(error, psycopg.Error) and error.diag.source_function == "RevalidateCachedQuery"


def is_connection_failure(error: DatabaseUnavailable) -> bool:
    """Whether PostgreSQL was not reached, or the connection was lost: the driver's error has then no SQLSTATE."""
    original = _original(error.__cause__) if isinstance(error.__cause__, Exception) else None
    return isinstance(original, psycopg.OperationalError) and original.sqlstate is None


def _describe(error: Exception) -> str:
    """The driver's error as one line, without the SQL that SQLAlchemy appends."""
    original = _original(error)
    return f"{in_words(original)}: {original}".partition("\n")[0]


def _original(error: Exception) -> BaseException:
    """The driver's error inside of SQLAlchemy's, or the error itself."""
    original: BaseException | None = getattr(error, "orig", None)
    return original or error
