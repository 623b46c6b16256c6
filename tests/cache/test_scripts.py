"""Lua scripts get their keys and arguments by name."""

import pytest
from redis.asyncio import Redis

from wishcraft.cache.scripts import Script, batch_values, eval_values

ECHO = Script(
    name="echo",
    keys=("first_key", "second_key"),
    args=("first_arg", "second_arg"),
    body="return {first_key, second_key, first_arg, second_arg}",
)


def test_call_puts_values_in_the_declared_order() -> None:
    call = ECHO.call(second_arg=2, first_arg=b"1", second_key="b", first_key="a")
    assert call == (["a", "b"], [b"1", 2])


@pytest.mark.parametrize("names", [("first_key", "second_key", "first_arg"), (*ECHO.keys, *ECHO.args, "third_arg")])
def test_call_with_a_missing_or_undeclared_name_raises(names: tuple[str, ...]) -> None:
    with pytest.raises(TypeError, match="echo takes"):
        ECHO.call(**dict.fromkeys(names, "x"))


async def test_script_sees_its_keys_and_arguments_under_their_names(redis: Redis) -> None:
    call = ECHO.call(first_key="a", second_key="b", first_arg="c", second_arg="d")
    assert await redis.eval(*eval_values(ECHO, call)) == [b"a", b"b", b"c", b"d"]  # type: ignore[arg-type]


async def test_batch_runs_the_script_for_each_call_in_order(redis: Redis) -> None:
    calls = [ECHO.call(first_key=f"a{n}", second_key="b", first_arg=n, second_arg="d") for n in range(3)]
    replies = await redis.register_script(ECHO.batch_source)(*batch_values(calls))
    assert replies == [[b"a%d" % n, b"b", b"%d" % n, b"d"] for n in range(3)]
