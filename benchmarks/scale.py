"""The scale table: what a read costs with few registries and with many, each read in turn."""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.server_cost import Row, ServerBenchmark, read_each, server_benchmark, wait_for_fills
from benchmarks.servers import running_servers

MOST_READ: Final = 20_000
"""Registries that are read, evenly spread over all: more than a process of the API remembers anything of."""
_API: Final = (sys.executable, "-m", "api")
_FLOOR: Final = (sys.executable, "-m", "benchmarks.peers", "floor")

HEADING: Final = f"{'registries':>10} {'what':<24} {'us CPU':>7} {'floor':>7} {'p50 ms':>6} {'p99':>6} {'us DB':>6}"
NOTES: Final = f"""
All registries that are read, at most {MOST_READ:,}, are read in turn, so that what a process remembers of the last few
thousand is of no use. Compare the column `floor`, CPU relative to uvicorn alone, between the sizes."""


def print_table(sizes: Sequence[int], requests: int) -> None:
    """Measure on new servers for each size; prints each line when it is ready, and the whole table at the end."""
    table = [HEADING]
    print(HEADING, flush=True)
    for size in sizes:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="wishcraft-bench-")))
            servers = stack.enter_context(running_servers(folder, size, counts_queries=True))
            bench = stack.enter_context(server_benchmark(servers, folder, requests))
            targets = bench.factory.targets
            read = targets[:: -(-len(targets) // MOST_READ)]
            for row, floor in _rows(replace(bench, factory=replace(bench.factory, targets=read))):
                table.append(_formatted(size, row, floor))
                print(table[-1], flush=True)
    print("", *table, NOTES, sep="\n")


def _rows(bench: ServerBenchmark) -> Iterator[tuple[Row, Row]]:
    """Each row, and that of uvicorn alone."""
    count = max(2 * bench.requests, len(bench.factory.targets))
    with bench.server(*_FLOOR) as server:
        floor = bench.measure("bare uvicorn", server, bench.factory.signed(), count=count)
        yield floor, floor
    asyncio.run(wait_for_fills(bench.servers.settings))
    with bench.server(*_API) as server:
        yield bench.measure("hit, signature", server, bench.factory.signed(), count=count), floor
        etags = [each.etag for each in read_each(server, bench.factory.signed_paths())]
        conditional = bench.factory.conditional(etags)
        yield bench.measure("not modified (304)", server, conditional, count=count, status=304), floor
        count = min(bench.requests // 4, len(bench.factory.targets))
        yield (
            bench.measure(
                "miss", server, bench.factory.signed(), count=count, warm_up=100, before=bench.drop_cache_entries
            ),
            floor,
        )


def _formatted(size: int, row: Row, floor: Row) -> str:
    database_time = 1000 * row.queries.milliseconds / row.result.count
    return (
        f"{size:>10,} {row.what:<24} {row.cpu:>7,.0f} {row.cpu / floor.cpu:>6.2f}x"
        f" {row.result.p50:>6.1f} {row.result.p99:>6.1f} {database_time:>6,.0f}"
    )
