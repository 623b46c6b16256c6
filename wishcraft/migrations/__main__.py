"""`python -m wishcraft.migrations`: upgrade DATABASE_URL to the latest revision, or write a new revision."""

import argparse

from alembic import command

from wishcraft import migrations
from wishcraft.settings import DatabaseSettings


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m wishcraft.migrations", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("upgrade", help="upgrade the database to the latest revision")
    commands.add_parser("check", help="fail if the tables in the code differ from the database")
    revision = commands.add_parser("revision", help="write a migration from the differences, for review")
    revision.add_argument("message")
    args = parser.parse_args()
    url = DatabaseSettings().database_url
    if args.command == "upgrade":
        migrations.upgrade(url)
    elif args.command == "check":
        migrations.check(url)
    else:
        command.revision(migrations.config(url), args.message, autogenerate=True)


if __name__ == "__main__":
    main()
