"""The webhooks table: receipt, handling beside one transaction for each, and the delay until the API shows them."""

import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import orjson

from benchmarks.load import LoadError, Plan, Result, drive
from benchmarks.measurement import measure_in_process
from benchmarks.requests import request
from benchmarks.server_cost import ServerBenchmark, server_benchmark
from benchmarks.servers import running_servers
from deployments.sandbox.processes import ROOT, Program, running
from tests.support.webhooks import NOON, line, order, signed_headers

REGISTRIES: Final = 1_400
PER_SECOND: Final = 300
PROBES: Final = 100
_API: Final = (sys.executable, "-m", "api")
_PATIENCE_SECONDS: Final = 30.0
NOTES: Final = f"""
All are orders/create of one line item each, for items of about a thousand registries of three shops. Receipt is one
process of the API with 32 connections; handling is one process. Everything shares the same processors.
At {PER_SECOND} a second, times count from the moment at which a request is due.
The delay is that of {PROBES} more webhooks, one after the other: from their 200 to an answer that shows them."""


class Item(NamedTuple):
    """An item of a public registry."""

    shop_id: int
    domain: str
    slug: str
    id: int
    variant_id: int
    attribution: str


class Orders:
    """Makes requests with webhooks of orders, each another one."""

    def __init__(self, items: Sequence[Item], secret: str) -> None:
        self._items, self._secret = items, secret
        self._made = 0

    def make(self, count: int) -> list[str]:
        """Make `count` requests."""
        return [self.make_one(self._items[self._made % len(self._items)]) for _ in range(count)]

    def make_one(self, item: Item) -> str:
        """A request with an order of one piece of the item."""
        self._made += 1
        bought = line(self._made, item.variant_id, claim=item.attribution)
        body = orjson.dumps(order([bought], number=self._made)).decode()
        headers = signed_headers(self._secret, body.encode(), "orders/create", item.domain, f"w-{self._made}")
        return request("POST", "/api/webhooks/shopify", headers | {"X-Shopify-Triggered-At": NOON.isoformat()}, body)


def print_table(count: int) -> None:
    """Measure on new servers; prints each line when it is ready."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="wishcraft-bench-")))
        servers = stack.enter_context(running_servers(folder, REGISTRIES, counts_queries=True))
        bench = stack.enter_context(server_benchmark(servers, folder, count))
        bench.connection.execute("TRUNCATE webhook_events")
        for text in _lines(bench):
            print(text, flush=True)
    print(NOTES)


def _lines(bench: ServerBenchmark) -> Iterator[str]:
    probed, *items = _find_items(bench)
    orders = Orders(items, bench.servers.settings.shopify_api_secret.get_secret_value())
    with bench.server(*_API) as server:
        bench.measure_plan("", server, _plan(server.port, orders.make(bench.requests // 10)))  # to warm up
        row = bench.measure_plan("", server, _plan(server.port, orders.make(bench.requests)))
        yield _receipt("receipt, as many as possible", row.result, row.cpu)
    handled = measure_in_process("webhooks", bench.servers)
    yield _handling("handling, by the consumer", handled.count, handled.rate, handled.cpu)
    with bench.server(*_API) as server:
        bench.measure_plan("", server, _plan(server.port, orders.make(bench.requests // 10), PER_SECOND))
        row = bench.measure_plan("", server, _plan(server.port, orders.make(bench.requests // 5), PER_SECOND))
        yield _receipt(f"receipt, {PER_SECOND} a second", row.result, row.cpu)
    naive = measure_in_process("webhooks-naive", bench.servers)
    yield _handling("handling, a transaction for each", naive.count, naive.rate, naive.cpu)
    yield f"handled by the consumer, relative to a transaction for each: {handled.rate / naive.rate:.1f}x"
    program = Program("webhooks", (sys.executable, "-m", "deployments.webhooks"), ROOT, bench.servers.environment())
    with bench.server(*_API) as server, running(program, lambda: True, bench.folder / "webhooks.log"):
        key = bench.factory.keys[probed.shop_id][0]
        bench.measure_plan("", server, _plan(server.port, orders.make(bench.requests // 10), PER_SECOND))
        delays = _probe(bench, _plan(server.port, orders.make(bench.requests), PER_SECOND), orders, probed, key)
    cuts = statistics.quantiles(delays, n=100, method="inclusive")
    yield (
        f"delay from 200 to the API's answer at {PER_SECOND} a second: p50 {cuts[49]:.2f} s, p99 {cuts[98]:.2f} s,"
        f" longest {max(delays):.2f} s"
    )


def _find_items(bench: ServerBenchmark) -> list[Item]:
    """An item of each target."""
    rows = bench.connection.execute(
        """SELECT DISTINCT ON (registry_id) registry_id, id, variant_id, attribution::text FROM registry_items
           WHERE status <> 'hidden' ORDER BY registry_id, id"""
    )
    by_registry = {registry_id: values for registry_id, *values in rows}
    return [
        Item(target.shop_id, target.domain, target.slug, *by_registry[target.registry_id])
        for target in bench.factory.targets
        if target.registry_id in by_registry
    ]


def _plan(port: int, requests: list[str], per_second: float = 0) -> Plan:
    return Plan(port, requests, list(range(len(requests))), per_second=per_second)


def _receipt(what: str, result: Result, cpu: float) -> str:
    return (
        f"{what:<34} {result.count:>7,} {result.rate:>7,.0f} a second {cpu:>6,.0f} us CPU"
        f"   p50 {result.p50:.1f} ms, p99 {result.p99:.1f} ms"
    )


def _handling(what: str, count: int, rate: float, cpu: float) -> str:
    return f"{what:<34} {count:>7,} {rate:>7,.0f} a second {1e6 * cpu / max(1, count):>6,.0f} us CPU"


def _probe(bench: ServerBenchmark, plan: Plan, orders: Orders, item: Item, key: str) -> list[float]:
    """Delays in seconds of `PROBES` webhooks about the item while the plan runs."""
    results: list[Result] = []
    load = threading.Thread(target=lambda: results.append(drive(plan, bench.servers.environment())))
    load.start()
    http = HTTPConnection("127.0.0.1", plan.port, timeout=_PATIENCE_SECONDS)
    delays: list[float] = []
    while len(delays) < PROBES and (load.is_alive() or len(delays) < 2):  # noqa: PLR2004  what quantiles need
        before = _purchased(http, item, key)
        head, _, body = orders.make_one(item).partition("\r\n\r\n")
        headers = dict(each.split(": ", 1) for each in head.split("\r\n")[1:])
        http.request("POST", "/api/webhooks/shopify", body, headers)
        http.getresponse().read()
        accepted = time.perf_counter()
        while _purchased(http, item, key) == before:
            if time.perf_counter() - accepted > _PATIENCE_SECONDS:
                raise LoadError(f"A webhook had no effect in {_PATIENCE_SECONDS:.0f} s.")
            time.sleep(0.005)
        delays.append(time.perf_counter() - accepted)
    load.join()
    http.close()
    if not results or not delays:
        raise LoadError("The load beside the probes failed.")
    return delays


def _purchased(http: HTTPConnection, item: Item, key: str) -> int:
    http.request("GET", f"/api/registries/{item.slug}", headers={"X-API-Key": key})
    answer: dict[str, Any] = orjson.loads(http.getresponse().read())
    return next(int(each["purchased"]) for each in answer["items"] if str(each["id"]) == str(item.id))
