"""The inbox of webhooks: insertion of many in one statement."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import psycopg

from wishcraft.errors import DatabaseRejected
from wishcraft.store.engine import Database

_INSERT: Final = """
INSERT INTO webhook_events (shop_domain, topic, event_id, webhook_id, triggered_at, api_version, payload)
SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::timestamptz[], %b::text[], %b::bytea[])
ON CONFLICT DO NOTHING RETURNING shop_domain, webhook_id, id
"""


class Received(NamedTuple):
    """A webhook as received: a row of the inbox to be."""

    shop_domain: str
    topic: str
    event_id: str | None
    webhook_id: str
    triggered_at: datetime | None
    api_version: str | None
    payload: bytes


async def insert(db: Database, webhooks: Sequence[Received]) -> list[int | None]:
    """Store the webhooks in one statement, which is committed; their ids, None for those that were stored before.

    It uses the driver's connection, because SQLAlchemy's work around a statement costs more than the statement.

    Raises:
        DatabaseUnavailable: None is known to be stored; it may be tried again.
        DatabaseRejected: PostgreSQL refuses a value of one of them, and has stored none.
    """
    # Two transactions with the same webhooks wait for each other's in one order, so that they do not deadlock.
    ordered = sorted(webhooks, key=lambda each: (each.shop_domain, each.topic, each.event_id or "", each.webhook_id))
    async with db.connection() as connection:
        raw = await connection.get_raw_connection()
        driver: psycopg.AsyncConnection[Any] = raw.driver_connection  # type: ignore[assignment]
        await driver.set_autocommit(True)
        try:
            cursor = await driver.execute(_INSERT, [list(column) for column in zip(*ordered, strict=True)])
            stored = {(domain, webhook_id): row_id for domain, webhook_id, row_id in await cursor.fetchall()}
        except (psycopg.IntegrityError, psycopg.DataError) as error:
            raise DatabaseRejected(type(error).__name__) from None  # its text quotes the row
        finally:
            if not driver.closed:
                await driver.set_autocommit(False)
    return [stored.pop((each.shop_domain, each.webhook_id), None) for each in webhooks]
