"""The seeded breakages of tests/support/breakages: each can still be applied, and names tests that exist."""

from pathlib import Path

import pytest

from tests.support.breakages.breakage import Breakage
from tests.support.breakages.catalogue import BREAKAGES
from tests.support.breakages.run import ROOT


@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda breakage: breakage.name)
def test_breakage_still_applies(breakage: Breakage) -> None:
    assert (ROOT / breakage.file).read_text().count(breakage.find) == 1
    for test in breakage.tests:
        file, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}(" in Path(ROOT / file).read_text() if name else (ROOT / file).is_file()
