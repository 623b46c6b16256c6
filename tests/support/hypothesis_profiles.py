"""How hard Hypothesis searches: `quick` by default, or the profile that HYPOTHESIS_PROFILE names.

`quick` tries few examples, the same ones every time. `deep` (`make test-deep`) tries many, and others every time unless
CI is set: there the verdict on a change must depend on the change alone, as in Hypothesis's own profile for CI.
"""

import os
from typing import Final

from hypothesis import settings

PROFILE: Final = os.environ.get("HYPOTHESIS_PROFILE", "quick")
IS_CI: Final = "CI" in os.environ

settings.register_profile("quick", max_examples=25, derandomize=True, database=None, deadline=None)
settings.register_profile("deep", max_examples=100, derandomize=IS_CI, database=None, deadline=None, print_blob=True)
settings.load_profile(PROFILE)


def examples(*, quick: int, deep: int) -> int:
    """How many examples to try, where the profile's own number is not right."""
    return deep if PROFILE == "deep" else quick
