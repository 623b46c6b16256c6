from wishcraft.domain.invariants import Invariant
from wishcraft.reports.invariants import warning


def test_every_invariant_has_a_warning_with_its_next_step() -> None:
    for invariant in Invariant:
        assert warning({invariant: 2}).startswith("Left as they are: 2 "), invariant
    assert warning(dict.fromkeys(Invariant, 0)) == ""
