"""`python -m benchmarks`: measure jobs, serving and analytics on separate servers; prints tables.

Absolute figures vary on a shared machine: compare the ratios within one run.
"""

import wishcraft.interrupts  # noqa: F401  it must be the first import

# isort: split
import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from benchmarks import analytics, scale, serving, startup, webhooks
from benchmarks.jobs import HEADING, NOTES, Row, rows
from benchmarks.load import LoadError
from benchmarks.servers import running_servers
from benchmarks.web import ServerError
from deployments.argument_types import between
from deployments.sandbox.demo import MAX_REGISTRIES
from wishcraft.errors import ConfigurationError

PARTS: Final = ("serving", "scale", "webhooks", "jobs", "analytics", "startup")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="serving|scale|webhooks|jobs|analytics|startup",
        help="what to measure (default: all)",
    )
    parser.add_argument(
        "--registries",
        type=between(int, 1, MAX_REGISTRIES),
        nargs="+",
        default=[1_000, 10_000, 100_000],
        metavar="N",
        help="sizes: all for jobs, the first and last for scale, the largest for analytics (default: %(default)s)",
    )
    parser.add_argument(
        "--requests",
        type=between(int, 1, 10_000_000),
        default=10_000,
        metavar="N",
        help="serving, scale and webhooks: requests per row, fewer for slow rows (default: %(default)s)",
    )
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}: choose from {', '.join(PARTS)}")
    try:
        if "serving" in args.parts or not args.parts:
            serving.print_table(args.requests)
        if "scale" in args.parts or not args.parts:
            scale.print_table([args.registries[0], args.registries[-1]], args.requests)
        if "webhooks" in args.parts or not args.parts:
            webhooks.print_table(args.requests)
        if "jobs" in args.parts or not args.parts:
            _print_jobs(args.registries)
        if "analytics" in args.parts or not args.parts:
            analytics.print_table(max(args.registries))
        if "startup" in args.parts or not args.parts:
            startup.print_table()
    except (ServerError, LoadError, ConfigurationError) as error:
        sys.exit(str(error))


def _print_jobs(sizes: Sequence[int]) -> None:
    table, smaller = [HEADING], dict[str, Row]()
    for size in sizes:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wishcraft-bench-")))
            for row in rows(stack.enter_context(running_servers(folder, size))):
                table.append(row.formatted(size, smaller.get(row.what)))
                print(table[-1], flush=True)
                smaller[row.what] = row
    print("", *table, NOTES, sep="\n")


if __name__ == "__main__":
    main()
