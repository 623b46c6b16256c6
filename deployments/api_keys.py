"""`python -m deployments.api_keys`: manage the API keys of a shop in the database at DATABASE_URL.

A new key is printed once, alone on standard output; only its hash is stored.
"""

import wishcraft.interrupts  # noqa: F401  it must be the first import

# isort: split
import argparse
import asyncio
import getpass
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo

from deployments.argument_types import between, line
from wishcraft.domain import times
from wishcraft.domain.api_keys import MAX_DAYS, MAX_GRACE_HOURS, MAX_NAME
from wishcraft.domain.callers import Scope
from wishcraft.domain.networks import parse_network
from wishcraft.errors import DatabaseUnavailable, WishCraftError, database_fault
from wishcraft.services.shops.api_keys import GRACE, Issued, create_key, list_keys, revoke_key, rotate_key
from wishcraft.settings import DatabaseSettings, load, time_zone
from wishcraft.store import shops
from wishcraft.store.api_keys import KeyFacts
from wishcraft.store.audit_log import Actor
from wishcraft.store.engine import Database


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parsed = _parser().parse_args(arguments)
    try:
        zone = time_zone()  # first: a key that was made and cannot be printed would be lost
        asyncio.run(_run(parsed, zone))
    except DatabaseUnavailable as error:
        sys.exit(database_fault(error))
    except WishCraftError as error:
        sys.exit(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deployments.api_keys", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="create a key and print it")
    _add_shop_argument(create)
    create.add_argument("name", type=line(MAX_NAME), help="name of the key, for people")
    create.add_argument("--scope", action="append", choices=[*Scope], type=Scope, help="default: read; may be repeated")
    create.add_argument("--allow", action="append", default=[], type=network, metavar="NETWORK",
                        help="accepted network, e.g. 203.0.113.0/24; may be repeated (default: any)")  # fmt: skip
    create.add_argument("--days", type=between(int, 1, MAX_DAYS), help="days until it expires (default: never)")
    _add_shop_argument(commands.add_parser("list", help="list the shop's keys"))
    rotate = commands.add_parser("rotate", help="replace a key by a new one and print it; the old key expires")
    _add_shop_argument(rotate)
    rotate.add_argument("prefix", help="prefix of the old key, as `list` shows it")
    rotate.add_argument("--grace-hours", type=between(int, 0, MAX_GRACE_HOURS), default=GRACE // timedelta(hours=1),
                        metavar="HOURS", help="hours until the old key expires (default: %(default)s)")  # fmt: skip
    revoke = commands.add_parser("revoke", help="revoke a key now")
    _add_shop_argument(revoke)
    revoke.add_argument("prefix", help="prefix of the key, as `list` shows it")
    return parser


def _add_shop_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shop", help="domain of the shop, e.g. maple-and-pine.myshopify.com")


def network(text: str) -> str:
    """A network in PostgreSQL's notation. argparse prints this function's name if the text is invalid."""
    return parse_network(text)


async def _run(args: argparse.Namespace, zone: tzinfo) -> None:
    db = Database(load(DatabaseSettings).database_url, pool_size=1)
    try:
        async with db.autocommit() as session:
            [shop] = await shops.find_active(session, [args.shop])
        await _execute(args, db, Actor(shop.id, f"command line: {getpass.getuser()}"), zone)
    finally:
        await db.close()


async def _execute(args: argparse.Namespace, db: Database, actor: Actor, zone: tzinfo) -> None:
    if args.command == "create":
        scopes = sorted(set(args.scope or [Scope.READ]))
        _print_key(await create_key(db, actor, args.name, scopes, ip_allow_list=args.allow, days=args.days), zone)
    elif args.command == "rotate":
        _print_key(await rotate_key(db, actor, args.prefix, timedelta(hours=args.grace_hours)), zone)
        print(f"{args.prefix} expires in {args.grace_hours} hours.", file=sys.stderr)
    elif args.command == "revoke":
        await revoke_key(db, actor, args.prefix)
        print("Revoked. Every process refuses the key within 30 s.")
    else:
        for key in await list_keys(db, actor.shop_id):
            print(_line(key, zone))


def _print_key(issued: Issued, zone: tzinfo) -> None:
    print(_line(issued.facts, zone), file=sys.stderr)
    print(issued.key)


def _line(key: KeyFacts, zone: tzinfo) -> str:
    def show(moment: datetime | None) -> str:
        return times.minute(moment, zone) if moment else "never"

    state = f"revoked {show(key.revoked_at)}" if key.revoked_at else f"expires {show(key.expires_at)}"
    networks = ", ".join(key.ip_allow_list) or "anywhere"
    used = f"used {show(key.last_used_at)}"
    return f"{key.prefix}  {key.name}: {', '.join(key.scopes)}; from {networks}; {state}; {used}"


if __name__ == "__main__":
    main()
