"""`python -m benchmarks`: measure the jobs on servers of their own; prints one table.

Figures on a shared machine wander: what to compare is the ratio to the naive way, taken in the same run.
"""

import argparse
import asyncio
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks import jobs
from benchmarks.servers import running_servers


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--registries",
        type=int,
        nargs="+",
        default=[1_000, 10_000],
        metavar="N",
        help="sizes to measure (default: %(default)s)",
    )
    args = parser.parse_args()
    print(f"{'registries':>10}  {'what':<44} {'per second':>12} {'ms CPU each':>12} {'naive':>7}  {'peak MiB':>8}")
    for size in args.registries:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wishcraft-bench-")))
            settings = stack.enter_context(running_servers(folder, size))
            for row in asyncio.run(jobs.measure(settings)):
                print(row.formatted(size))


if __name__ == "__main__":
    main()
