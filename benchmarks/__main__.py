"""`python -m benchmarks`: measure the jobs on servers of their own; prints one table.

Figures on a shared machine wander: what to compare is the ratio to the naive way, taken in the same run.
"""

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.jobs import HEADING, NOTES, Row, rows
from benchmarks.servers import running_servers


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--registries",
        type=int,
        nargs="+",
        default=[1_000, 10_000, 100_000],
        metavar="N",
        help="sizes to measure (default: %(default)s)",
    )
    args = parser.parse_args()
    table, smaller = [HEADING], dict[str, Row]()
    for size in args.registries:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wishcraft-bench-")))
            for row in rows(stack.enter_context(running_servers(folder, size))):
                table.append(row.formatted(size, smaller.get(row.what)))
                print(table[-1], flush=True)
                smaller[row.what] = row
    print("", *table, NOTES, sep="\n")


if __name__ == "__main__":
    main()
