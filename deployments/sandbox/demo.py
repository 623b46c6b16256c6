"""`python -m deployments.sandbox.demo`: fill an empty database at DATABASE_URL with demo shops.

Also writes `.wishcraft/demo.json`: each shop's domain, an API key and some slugs.
"""

import argparse
import json
import secrets
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import Connection, sql
from psycopg.types.json import Jsonb

from deployments.argument_types import between
from deployments.sandbox.catalogue import DEMO_SHOPS, DemoShop, Row
from deployments.sandbox.demo_history import HistoryGenerator
from deployments.sandbox.demo_rows import ShopRowGenerator, ShopRows
from deployments.sandbox.processes import ROOT
from wishcraft.domain.api_keys import NewKey, digest, make_key, prefix_of
from wishcraft.domain.batches import batches
from wishcraft.domain.callers import Scope
from wishcraft.domain.tokens import OfflineToken
from wishcraft.errors import ConfigurationError
from wishcraft.settings import Settings, load
from wishcraft.store.engine import Database
from wishcraft.store.schema.shop_settings import ShopSettings
from wishcraft.store.tokens import TokenVault

DEFAULT_REGISTRIES: Final = 200
MAX_REGISTRIES: Final = 10_000_000
DEFAULT_SEED: Final = 2026
SLUGS_PER_SHOP: Final = 5
_IDS_PER_SHOP: Final = 100_000_000
_BATCH_SIZE: Final = 1_000
_VIEWS: Final = """
INSERT INTO registry_views (shop_id, registry_id, day, views)
SELECT shop_id, registry_id, occurred_at::date, count(*) FROM analytics_events
WHERE type = 'registry_viewed' GROUP BY 1, 2, 3
"""


def seed(settings: Settings, registries: int, random_seed: int, today: date, products: int = 160) -> bool:
    """Fill an empty database with `registries` registries, divided over the demo shops; False if it has shops already.

    `products` per shop must equal the simulator's.
    """
    vault = TokenVault(Database(settings.database_url), settings.encryption_keys)
    with _connect(settings) as connection:
        if connection.execute("SELECT EXISTS (SELECT FROM shops)").fetchone() == (True,):
            return False
        for number, shop in enumerate(DEMO_SHOPS):
            _copy(connection, "shops", [_shop_row(shop, vault)])
            share = registries // len(DEMO_SHOPS) + (number < registries % len(DEMO_SHOPS))
            origin = settings.shopify_origin.format(shop=shop.domain)
            generator = ShopRowGenerator(shop, random_seed, today, shop.number * _IDS_PER_SHOP, products, origin)
            for numbers in batches(range(share), _BATCH_SIZE):
                rows = generator.generate(numbers)
                _copy_rows(connection, rows)
                if 0 in numbers:  # the history does not grow with the number of registries
                    for table, history in vars(
                        HistoryGenerator(shop, random_seed, today).generate(rows.registries)
                    ).items():
                        _copy(connection, table, history)
            print(f"  {shop.name}: {share:,} registries")
        connection.execute(_VIEWS)
        for table in ("shops", "registries", "registry_items", "purchases"):
            _advance_ids(connection, table)
    with _connect(settings, autocommit=True) as connection:
        connection.execute("ANALYZE")
    return True


def write_demo_info(settings: Settings, file: Path) -> None:
    """Write each shop's API key and slugs; valid keys that the file already has, if it can be read, are kept."""
    try:
        keys = {shop["domain"]: shop["api_key"] for shop in json.loads(file.read_bytes())["shops"]}
    except (FileNotFoundError, ValueError, LookupError, TypeError):  # a full disk may have left half of it
        keys = {}
    shops = []
    with _connect(settings) as connection:
        for shop_id, domain in connection.execute("SELECT id, domain FROM shops ORDER BY id").fetchall():
            key = keys.get(domain)
            if key is None or not _is_valid(connection, key):
                key = add_key(connection, shop_id).key
            shops.append({"domain": domain, "api_key": key, **_public_registries(connection, shop_id)})
    file.parent.mkdir(exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(json.dumps({"shops": shops}, indent=2))


def add_key(connection: Connection[tuple[Any, ...]], shop_id: int) -> NewKey:
    """Create an API key with all scopes for the shop; only its hash is stored."""
    new = make_key(secrets.token_bytes(38))
    connection.execute(
        "INSERT INTO api_keys (shop_id, name, prefix, key_hash, scopes) VALUES (%s, 'sandbox', %s, %s, %s)",
        [shop_id, new.prefix, new.digest, [scope.value for scope in Scope]],
    )
    return new


def _connect(settings: Settings, *, autocommit: bool = False) -> Connection[tuple[Any, ...]]:
    return psycopg.connect(settings.database_url.replace("+psycopg", "", 1), autocommit=autocommit)


def _shop_row(shop: DemoShop, vault: TokenVault) -> Row:
    return {
        "id": shop.number,
        "domain": shop.domain,
        "name": shop.name,
        "email": f"hello@{shop.domain}",
        "currency": shop.currency,
        "timezone": shop.timezone,
        "plan": shop.plan,
        "settings": ShopSettings(
            brand_colour=shop.colour, reply_to=f"hello@{shop.domain}", postal_address=shop.address
        ).model_dump(),
        **vault.columns(OfflineToken(shop.access_token, shop.refresh_token, datetime.now(UTC) + timedelta(hours=1))),
    }


def _copy_rows(connection: Connection[tuple[Any, ...]], rows: ShopRows) -> None:
    _copy(connection, "registries", rows.registries)
    _copy(connection, "registry_items", rows.items)
    _copy(connection, "invitations", rows.invitations)
    _copy(connection, "reminders", rows.reminders)
    _copy(connection, "purchases", rows.purchases)
    _copy(connection, "analytics_events", rows.events)


def _copy(connection: Connection[tuple[Any, ...]], table: str, rows: Sequence[Row]) -> None:
    if not rows:
        return
    columns = sql.SQL(", ").join(map(sql.Identifier, rows[0]))
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), columns)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row([_plain(value) for value in row.values()])


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    return Jsonb(value) if isinstance(value, dict | list) else value


def _advance_ids(connection: Connection[tuple[Any, ...]], table: str) -> None:
    statement = sql.SQL("SELECT setval(pg_get_serial_sequence({}, 'id'), max(id)) FROM {}")
    connection.execute(statement.format(sql.Literal(table), sql.Identifier(table)))


def _is_valid(connection: Connection[tuple[Any, ...]], key: str) -> bool:
    query = "SELECT key_hash FROM api_keys WHERE prefix = %s AND revoked_at IS NULL AND scopes @> %s"
    scopes = [scope.value for scope in Scope]
    return connection.execute(query, [prefix_of(key), scopes]).fetchone() == (digest(key),)


def _public_registries(connection: Connection[tuple[Any, ...]], shop_id: int) -> dict[str, Any]:
    """The slugs of some public registries, and the customer who owns the first of them."""
    query = """
        SELECT slug, customer_id FROM registries WHERE shop_id = %s AND visibility = 'public' AND status = 'active'
        ORDER BY id LIMIT %s
    """
    found = connection.execute(query, [shop_id, SLUGS_PER_SHOP]).fetchall()
    return {"customer_id": found[0][1] if found else None, "registries": [slug for slug, _ in found]}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m deployments.sandbox.demo", description=__doc__)
    parser.add_argument(
        "--scale",
        type=between(int, 1, MAX_REGISTRIES),
        default=DEFAULT_REGISTRIES,
        metavar="N",
        help="number of registries",
    )
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="seed of the random data")
    parser.add_argument("--card", type=Path, default=ROOT / ".wishcraft" / "demo.json", help="output file")
    args = parser.parse_args()
    try:
        settings = load(Settings)
    except ConfigurationError as error:
        sys.exit(str(error))
    if seed(settings, args.scale, args.seed, datetime.now(UTC).date()):
        print(f"Demo data: {args.scale:,} registries in {len(DEMO_SHOPS)} shops.")
    else:
        print("The database already has shops; nothing was added.")
    write_demo_info(settings, args.card)


if __name__ == "__main__":
    main()
