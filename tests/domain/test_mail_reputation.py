import pytest

from wishcraft.domain.mail_reputation import too_many_complaints, too_many_refused


@pytest.mark.parametrize(
    ("complaints", "with_outcome", "expected"),
    [(0, 0, False), (2, 2, False), (3, 3, True), (3, 1_000, False), (4, 1_000, True), (300, 100_000, False)],
)
def test_shop_is_paused_above_three_complaints_in_a_thousand(
    complaints: int, with_outcome: int, *, expected: bool
) -> None:
    assert too_many_complaints(complaints, with_outcome) is expected


@pytest.mark.parametrize(("refused", "sent", "too_many"), [(4, 0, False), (5, 0, True), (5, 5, False), (60, 59, True)])
def test_many_refusals_that_are_the_majority_are_too_many(refused: int, sent: int, *, too_many: bool) -> None:
    assert too_many_refused(refused, sent) is too_many
