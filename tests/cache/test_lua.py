"""Lua scripts get their keys and arguments by name."""

import pytest
from redis.asyncio import Redis

from wishcraft.cache.lua import Call, Script

ECHO = Script(
    name="echo",
    keys=("first_key", "second_key"),
    args=("first_arg", "second_arg"),
    body="return {first_key, second_key, first_arg, second_arg}",
)


def test_values_are_in_the_declared_order() -> None:
    call: Call = {"second_arg": 2, "first_arg": b"1", "second_key": "b", "first_key": "a"}
    assert ECHO.values([call]) == (["a", "b"], [b"1", 2])


@pytest.mark.parametrize(
    ("names", "error"),
    [(("first_key", "second_key", "first_arg"), KeyError), ((*ECHO.keys, *ECHO.args, "third_arg"), TypeError)],
)
def test_call_with_a_missing_or_undeclared_name_raises(names: tuple[str, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        ECHO.values([dict.fromkeys(names, "x")])


async def test_script_sees_its_keys_and_arguments_under_their_names(redis: Redis) -> None:
    key_names, args = ECHO.values([{"first_key": "a", "second_key": "b", "first_arg": "c", "second_arg": "d"}])
    replies = await redis.register_script(ECHO.source)(key_names, args)
    assert replies == [b"a", b"b", b"c", b"d"]


async def test_batch_runs_the_script_for_each_call_in_order(redis: Redis) -> None:
    calls: list[Call] = [{"first_key": f"a{n}", "second_key": "b", "first_arg": n, "second_arg": "d"} for n in range(3)]
    key_names, args = ECHO.values(calls)
    replies = await redis.register_script(ECHO.batch_source)(key_names, [len(calls), *args])
    assert replies == [[b"a%d" % n, b"b", b"%d" % n, b"d"] for n in range(3)]
