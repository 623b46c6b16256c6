"""The walks of docs/architecture.md: how many of our functions and files one request enters."""

import re
from typing import Final

import pytest

from benchmarks.hops import Walk, count_files, measure_walks
from tests.support.aliases import Demo
from tests.support.docs import section
from wishcraft.settings import Settings

NUMBERS: Final = re.compile(
    r"A (hit|miss|write) enters (\d+) functions in (\d+) files; (\d+) of the functions are leaves."
    r"(?: From the handler on, it enters (\d+) in (\d+) files)?"
)
CEILINGS: Final = {"hit": (25, 12), "miss": (66, 29), "write": (123, 49)}
"""The most functions and files of each walk. Lower them when a walk gets shorter."""


@pytest.fixture
async def walks(request: pytest.FixtureRequest, settings: Settings, demo: Demo) -> dict[str, Walk]:
    """The walks of an API over the demo shops."""
    request.getfixturevalue("generous_limits")
    return await measure_walks(settings)


def test_architecture_page_has_the_measured_lengths_of_the_walks(walks: dict[str, Walk]) -> None:
    page = {
        name: tuple(int(number or 0) for number in numbers)
        for name, *numbers in NUMBERS.findall(section("docs/architecture.md", "Walks"))
    }
    assert page == {
        name: (len(walk.functions), walk.files, walk.leaves, len(walk.in_handler), count_files(walk.in_handler))
        for name, walk in walks.items()
    }


def test_no_walk_is_longer_than_its_ceiling(walks: dict[str, Walk]) -> None:
    assert set(walks) == set(CEILINGS)
    longer = {
        name: walk
        for name, walk in walks.items()
        if len(walk.functions) > CEILINGS[name][0] or walk.files > CEILINGS[name][1]
    }
    assert not longer


@pytest.mark.parametrize("walk", ["hit", "miss"])
def test_walk_of_a_read_never_enters_the_middleware_or_a_route(walks: dict[str, Walk], walk: str) -> None:
    assert not [name for name in walks[walk].functions if name.startswith(("api/middleware/", "api/routes/"))]


def test_walk_lists_functions_in_the_order_of_first_entry(walks: dict[str, Walk]) -> None:
    entered = list(walks["miss"].functions)
    landmarks = [
        "api/fast_path.py:FastProtocol.data_received",
        "wishcraft/services/registries/reader.py:RegistryReader.read",
        "api/fast_path.py:FastPath.finish",
    ]
    assert sorted(landmarks, key=entered.index) == landmarks
