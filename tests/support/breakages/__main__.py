"""Seeded breakages: small faults in the product, each of which removes one guard and must make named tests fail.

    python -m tests.support.breakages [--only NAME] [--list]

They show that a change of the tests has lost no check. Each is applied alone, to a temporary copy of the tree.
Exit status 1: a breakage was not caught, its `find` text is out of date, or the tests fail without any breakage.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from deployments.sandbox.postgres import postgres
from deployments.sandbox.valkey import valkey
from tests.support.breakages.catalogue import BREAKAGES
from tests.support.breakages.run import check_origins, copy_tree, make_environment, run_all, say


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.breakages", description=__doc__)
    parser.add_argument("--only", action="append", metavar="NAME", help="run those with NAME in the name; repeatable")
    parser.add_argument("--list", action="store_true", help="list the breakages, and run nothing")
    options = parser.parse_args(arguments)
    wanted = [each for each in BREAKAGES if not options.only or any(name in each.name for name in options.only)]
    if not wanted:
        parser.error("no breakage has such a name: see --list")
    if options.list:
        for each in wanted:
            say(f"{each.name}: {each.file}, {', '.join(each.tests)}")
        return 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wishcraft-breakages-")))
        copy = folder / "tree"
        copy_tree(copy)
        environment = make_environment(copy)
        check_origins(copy, environment)
        if "TEST_DATABASE_URL" not in environment:
            environment["TEST_DATABASE_URL"] = stack.enter_context(postgres(folder, durable=False))
        if "TEST_REDIS_URL" not in environment:
            environment["TEST_REDIS_URL"] = stack.enter_context(valkey(folder, durable=False))
        return run_all(wanted, copy, environment)


if __name__ == "__main__":
    sys.exit(main())
