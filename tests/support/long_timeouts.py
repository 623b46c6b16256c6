"""The API with limits of time within which PostgreSQL and Redis answer on a busy machine too.

`python -m tests.support.long_timeouts` serves it as `python -m api` does.
"""

import pkgutil
from collections.abc import Callable
from functools import partial
from typing import Final

from tests.support.waiting import PATIENCE_SECONDS

_LIMITS: Final = (
    "api.middleware.request.MAX_SECONDS",
    "wishcraft.cache.client.REDIS_READ_SECONDS",
    "wishcraft.cache.read_permit.PERMIT_SECONDS",
    "wishcraft.services.health.monitor.PROBE_TIMEOUT_SECONDS",
    "wishcraft.services.operations.metrics_collector.OPTIONAL_TIMEOUT_SECONDS",
    "wishcraft.services.operations.traffic_recorder.FLUSH_SECONDS",
    "wishcraft.services.registries.reader.DATABASE_READ_SECONDS",
)
"""With `FLUSH_SECONDS`, so that counts are saved when the test says so, and not under way in the background."""
_ARGUMENTS: Final = {
    "api.state.ReadPermit": ("answer_seconds",),
    "wishcraft.resources.RegistryCache": ("revalidate_seconds", "wait_for_fill_seconds"),
    "wishcraft.resources.Replica": ("answer_seconds",),
}
"""Limits that an object is given, by the name of its class where it is made."""


def raise_limits(set_attribute: Callable[[object, str, object], None]) -> None:
    """Raise all limits with `setattr`, or with what undoes it later."""
    for limit in _LIMITS:
        module, _, name = limit.rpartition(".")
        set_attribute(pkgutil.resolve_name(module), name, PATIENCE_SECONDS)
    for path, names in _ARGUMENTS.items():
        module, _, name = path.rpartition(".")
        patient = partial(pkgutil.resolve_name(path), **dict.fromkeys(names, PATIENCE_SECONDS))
        set_attribute(pkgutil.resolve_name(module), name, patient)
    _let_redis_take(PATIENCE_SECONDS, set_attribute)


def raise_limits_of_redis(set_attribute: Callable[[object, str, object], None]) -> None:
    """Raise only those of Redis, to a second, so that a Redis which hangs is still noticed soon."""
    set_attribute(pkgutil.resolve_name("wishcraft.cache.client"), "REDIS_READ_SECONDS", 1.0)
    _let_redis_take(1.0, set_attribute)


def _let_redis_take(seconds: float, set_attribute: Callable[[object, str, object], None]) -> None:
    state = pkgutil.resolve_name("api.state")
    set_attribute(state, "open_resources", partial(state.open_resources, redis_timeout=seconds))


if __name__ == "__main__":
    raise_limits(setattr)
    pkgutil.resolve_name("api.__main__:main")()
