"""`python -m benchmarks.hops`: the functions and files of the project that one request enters, in order.

It counts what a reader of the code has to follow, not time.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, FrameType
from typing import Final

import httpx
from sqlalchemy import text

from api.app import create_app
from benchmarks.requests import signed_query
from benchmarks.servers import running_servers
from benchmarks.web import open_client
from wishcraft.cache.keys import entry_key
from wishcraft.resources import Resources
from wishcraft.settings import Settings

ROOT: Final = Path(__file__).parents[1]
PACKAGES: Final = tuple(f"{ROOT / name}/" for name in ("wishcraft", "api", "tasks", "flows"))
REGISTRIES: Final = 12
_HANDLERS: Final = {"api/routes/registries.py:get_registry", "api/routes/items.py:change"}
_SENDERS: Final = {
    f"api/middleware/request.py:ResponseSender.{method}" for method in ("send_unless_timed_out", "__call__")
}
REPEATS: Final = 5
"""The shortest walk counts: timers and other callbacks may add functions to one of them."""
_TARGET: Final = text("""
SELECT r.shop_id, s.domain, r.slug, r.customer_id, i.id
FROM registry_items i JOIN registries r ON r.id = i.registry_id JOIN shops s ON s.id = r.shop_id
WHERE r.visibility = 'public' AND r.status = 'active' AND i.status = 'active' ORDER BY i.id LIMIT 1
""")


@dataclass(frozen=True)
class Walk:
    """The functions that one request entered."""

    functions: dict[str, int] = field(default_factory=dict)
    """`file:function`, in the order of first entry, with the number of the project's functions that it called."""
    in_handler: set[str] = field(default_factory=set)
    """The functions that were entered from the call of the route's handler to the first byte of the response."""

    @property
    def files(self) -> int:
        """How many files these functions are in."""
        return count_files(self.functions)

    @property
    def leaves(self) -> int:
        """How many of these functions called none of the project's: a reader need not follow them further."""
        return list(self.functions.values()).count(0)


def count_files(functions: Iterable[str]) -> int:
    """How many files these functions are in."""
    return len({function.partition(":")[0] for function in functions})


@contextmanager
def record_walk() -> Iterator[Walk]:
    """Record the project's functions that are entered in this thread.

    Tasks that are already running, such as the recorders of the API, are left out. Lambdas and comprehensions count as
    part of the function that contains them.
    """
    walk, calls = Walk(), set[tuple[str, str]]()
    others = asyncio.all_tasks() - {asyncio.current_task()}

    def record(frame: FrameType, event: str, _: object) -> None:
        name = _name(frame.f_code) if event == "call" else None
        if not name or asyncio.current_task() in others:
            return
        walk.functions.setdefault(name, 0)
        if name in _HANDLERS or (walk.in_handler and not walk.functions.keys() & _SENDERS):
            walk.in_handler.add(name)
        caller = frame.f_back
        while caller and not _name(caller.f_code):
            caller = caller.f_back
        call = (_name(caller.f_code) or "" if caller else "", name)
        if call[0] in walk.functions and call not in calls:
            calls.add(call)
            walk.functions[call[0]] += 1

    sys.setprofile(record)
    try:
        yield walk
    finally:
        sys.setprofile(None)


async def measure_walks(settings: Settings) -> dict[str, Walk]:
    """The walks `hit`, `miss` and `write` of an API over these stores, each after an identical request.

    `write` changes an item of a public registry on behalf of its registrant.
    """
    async with _open_api(settings) as (client, resources):
        await resources.cache.ready_to_fill()
        async with resources.db.autocommit() as session:
            shop_id, domain, slug, customer_id, item_id = (await session.execute(_TARGET)).one()
        secret = settings.shopify_api_secret.get_secret_value()
        owned, seen = (signed_query(domain, each, int(time.time()), secret) for each in (customer_id, customer_id + 1))
        path = f"/api/registries/{slug}"

        async def read() -> httpx.Response:
            return await client.get(f"{path}?{seen}")

        async def write() -> httpx.Response:
            change = {"quantity": 2, "notes": str(time.monotonic_ns())}
            headers = {"If-Match": answers[-1].headers["etag"]}
            return await client.patch(f"{path}/items/{item_id}?{owned}", json=change, headers=headers)

        async def record(send: Callable[[], Awaitable[httpx.Response]], x_cache: str) -> Walk:
            answers.append(await send())
            walks = []
            for _ in range(REPEATS):
                if x_cache == "miss":
                    await resources.redis.redis.delete(entry_key(shop_id, slug))
                with record_walk() as walk:
                    answers.append(await send())
                if (answers[-1].status_code, answers[-1].headers.get("x-cache")) != (HTTPStatus.OK, x_cache):
                    raise RuntimeError(f"Expected 200 and a {x_cache}: {answers[-1].status_code}, {answers[-1].text}")
                walks.append(walk)
            return min(walks, key=lambda walk: len(walk.functions))

        answers: list[httpx.Response] = []
        return {
            "miss": await record(read, "miss"),
            "hit": await record(read, "hit"),
            "write": await record(write, "hit"),
        }


@asynccontextmanager
async def _open_api(settings: Settings) -> AsyncIterator[tuple[httpx.AsyncClient, Resources]]:
    app = create_app(settings)
    async with app.router.lifespan_context(app), open_client(app) as client:
        app_state = app.state.app_state
        await app_state.stop()  # its renewals of the read permit would count as part of a walk
        app_state.permit.renew_from(inf, frozenset())
        yield client, app_state.resources


@cache
def _name(code: CodeType) -> str | None:
    """`file:function` of the project's code; None for other code and for <lambda>, <listcomp>, <module> and so on."""
    if not code.co_filename.startswith(PACKAGES) or code.co_name.startswith("<"):
        return None
    return f"{Path(code.co_filename).relative_to(ROOT)}:{code.co_qualname.replace('.<locals>', '')}"


def main() -> None:
    """Measure on servers of its own, and print each walk."""
    with TemporaryDirectory(prefix="wishcraft-hops-") as folder, running_servers(Path(folder), REGISTRIES) as running:
        walks = asyncio.run(measure_walks(running.settings))
    for name, walk in walks.items():
        print(f"\n{name}: {len(walk.functions)} functions in {walk.files} files; {walk.leaves} are leaves (*)")
        if walk.in_handler:
            print(f"from the handler on (+): {len(walk.in_handler)} functions in {count_files(walk.in_handler)} files")
        for function, calls in walk.functions.items():
            print(" " if calls else "*", "+" if function in walk.in_handler else " ", function)


if __name__ == "__main__":
    main()
