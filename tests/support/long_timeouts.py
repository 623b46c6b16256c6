"""The API with limits of time within which PostgreSQL and Redis answer on a busy machine too.

`python -m tests.support.long_timeouts` serves it as `python -m api` does.
"""

import pkgutil
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from tests.support.waiting import PATIENCE_SECONDS

_LIMITS: Final = (
    "api.middleware.request.MAX_SECONDS",
    "api.state._REPLACE_WAIT_SECONDS",
    "wishcraft.cache.read_permit.PERMIT_SECONDS",
    "wishcraft.services.operations.metrics_collector.OPTIONAL_TIMEOUT_SECONDS",
    "wishcraft.services.operations.traffic_recorder.FLUSH_SECONDS",
    "wishcraft.services.registries.reader.DATABASE_READ_SECONDS",
)
"""With `FLUSH_SECONDS`, so that counts are saved when the test says so, and not under way in the background."""
_ARGUMENTS: Final = {
    "api.state.HealthMonitor": ("probe_seconds",),
    "api.state.ReadPermit": ("answer_seconds",),
    "api.state.RegistryReader": ("database_seconds",),
    "wishcraft.resources.RegistryCache": ("revalidate_seconds", "wait_for_fill_seconds"),
    "wishcraft.resources.Replica": ("answer_seconds",),
    "wishcraft.resources.connect": ("breaker_read_timeout",),
}
"""Limits that a function is given, or a class, by its name where it is called."""


def raise_limits(set_attribute: Callable[[object, str, object], None]) -> None:
    """Raise all limits with `setattr`, or with what undoes it later."""
    for limit in _LIMITS:
        module, _, name = limit.rpartition(".")
        set_attribute(pkgutil.resolve_name(module), name, PATIENCE_SECONDS)
    for path, names in _ARGUMENTS.items():
        give(path, names, PATIENCE_SECONDS, set_attribute)
    _let_redis_take(PATIENCE_SECONDS, set_attribute)


def raise_limits_of_redis(set_attribute: Callable[[object, str, object], None]) -> None:
    """Raise only those of Redis, to a second, so that a Redis which hangs is still noticed soon."""
    give("wishcraft.resources.connect", ["breaker_read_timeout"], 1.0, set_attribute)
    _let_redis_take(1.0, set_attribute)


def give(path: str, names: Iterable[str], seconds: float, set_attribute: Callable[[object, str, object], None]) -> None:
    """Give these arguments this value wherever the module calls the function, or makes the class, at `path`."""
    module, _, name = path.rpartition(".")
    set_attribute(
        pkgutil.resolve_name(module), name, partial(pkgutil.resolve_name(path), **dict.fromkeys(names, seconds))
    )


def _let_redis_take(seconds: float, set_attribute: Callable[[object, str, object], None]) -> None:
    state = pkgutil.resolve_name("api.state")
    set_attribute(state, "open_resources", partial(state.open_resources, redis_timeout=seconds))


if __name__ == "__main__":
    raise_limits(setattr)
    pkgutil.resolve_name("api.__main__:main")()
