"""`make test-chaos` and `make test-deep` collect only the files that name what they run; here is why none is missed."""

import re
from typing import Final

import pytest
from hypothesis import is_hypothesis_test

MARKS: Final = ("chaos", "deep")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test that the Makefile does not find: the text of its file lacks the word that `grep` looks for."""
    texts = {path: path.read_text("utf-8") for path in {item.path for item in items if item.path.suffix == ".py"}}
    for item in items:
        words = [mark for mark in MARKS if item.get_closest_marker(mark)]
        if is_hypothesis_test(getattr(item, "obj", None)):
            words.append("hypothesis")
        for word in words:
            if not re.search(rf"\b{word}\b", texts.get(item.path, word)):
                raise pytest.UsageError(f"{item.nodeid}: its file must have the word {word}, or make misses it")
