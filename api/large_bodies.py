"""Slots for the large bodies of webhooks and mail events: they limit memory, as a signature is checked at the end."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from fastapi import Request
from starlette.requests import ClientDisconnect

from api.middleware.request import LARGEST_BODY
from api.problems import PAUSE, ProblemError
from wishcraft.domain.networks import network_of

if TYPE_CHECKING:
    from api.state import AppState

MAX_PLACES: Final = 16
"""With 4 MiB for each body at most, 64 MiB."""
PLACES_OF_A_SENDER: Final = 4
SECONDS: Final = 2.0
"""Shopify itself gives up after five seconds, the answer included."""


class NoPlaceError(Exception):
    """All slots are taken, or all of this sender."""


class LargeBodies:
    """The slots of one process."""

    def __init__(self) -> None:
        self.seconds = SECONDS
        """How long a body may keep its slot."""
        self._taken = Counter[str]()

    @contextmanager
    def slot(self, sender: str) -> Iterator[None]:
        """Keep a slot of the sender, an address or its network.

        Raises:
            NoPlaceError: There is none.
        """
        if self._taken[sender] >= PLACES_OF_A_SENDER or self._taken.total() >= MAX_PLACES:
            raise NoPlaceError
        self._taken[sender] += 1
        try:
            yield
        finally:
            self._taken[sender] -= 1
            self._taken += Counter()  # forgets senders without a slot


async def read_body(request: Request, app_state: "AppState", count_refused: Callable[[str], None]) -> bytes:
    """The body. Beyond `LARGEST_BODY` it needs a slot of its sender, and must arrive within their `seconds`.

    Args:
        request: Its body is not read yet.
        app_state: Has the slots.
        count_refused: Is called with `crowded` if there is no slot, and with `slow` if the rest comes too slowly.

    Raises:
        ProblemError: One of these, or the client left.
    """
    parts: list[bytes] = []
    size, large_bodies = 0, app_state.large_bodies
    try:
        async with asyncio.timeout(None) as deadline:
            with ExitStack() as slot:
                async for part in request.stream():
                    if size <= LARGEST_BODY < size + len(part):
                        sender = network_of(app_state.authenticator.address(request.scope))
                        slot.enter_context(large_bodies.slot(sender))
                        deadline.reschedule(asyncio.get_running_loop().time() + large_bodies.seconds)
                    parts.append(part)
                    size += len(part)
    except NoPlaceError:
        count_refused("crowded")
        raise ProblemError("unavailable", "Too many large bodies are being received. Try again later.", PAUSE) from None
    except TimeoutError:
        count_refused("slow")
        detail = f"The rest of the request body did not arrive within {large_bodies.seconds:g} s."
        raise ProblemError("request-timeout", detail, {"Connection": "close"}) from None
    except ClientDisconnect:
        raise ProblemError("bad-request", "The body is incomplete.") from None
    return b"".join(parts)
