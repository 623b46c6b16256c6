"""Combinations of parameters of a test."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest


def pairs(many: Sequence[object], few: Sequence[object], others: pytest.MarkDecorator) -> list[Any]:
    """All pairs of both. Each of `many` is in one without a mark, with those of `few` in turn; the others have it."""
    turns = {(one, few[place % len(few)]) for place, one in enumerate(many)}
    return [pytest.param(*pair, marks=() if pair in turns else others) for pair in product(many, few)]
