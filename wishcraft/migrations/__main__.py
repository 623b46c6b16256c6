"""`python -m wishcraft.migrations`: upgrade DATABASE_URL to the latest revision, or write a new revision."""

import argparse
import sys

from alembic import command
from alembic.util import CommandError

from wishcraft import migrations
from wishcraft.database_errors import translate_database_errors
from wishcraft.errors import DatabaseUnavailable, WishCraftError, database_fault
from wishcraft.settings import DatabaseSettings, load


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m wishcraft.migrations", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("upgrade", help="upgrade the database to the latest revision")
    commands.add_parser("check", help="fail if the tables in the code differ from the database")
    revision = commands.add_parser("revision", help="write a migration from the differences, for review")
    revision.add_argument("message")
    args = parser.parse_args()
    try:
        with translate_database_errors():
            _run(args, load(DatabaseSettings).database_url)
    except DatabaseUnavailable as error:
        sys.exit(database_fault(error))
    except (CommandError, WishCraftError) as error:
        sys.exit(str(error))


def _run(args: argparse.Namespace, url: str) -> None:
    if args.command == "upgrade":
        migrations.upgrade(url)
    elif args.command == "check":
        migrations.check(url)
    else:
        command.revision(migrations.config(url), args.message, autogenerate=True)


if __name__ == "__main__":
    main()
