from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from wishcraft.domain.backfills import MAX_STEPS, Step, plan
from wishcraft.domain.periods import Days

TODAY = date(2026, 3, 14)
NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
REMIND = ["shops", "dry_run", "today"]
WARM = ["shops", "force"]
LEVELS = ["until", "mail"]


def planned(
    known: Sequence[str], days: Days, shops: Sequence[str] = (), parameters: Mapping[str, Any] | None = None
) -> list[Step]:
    return plan(known, days, shops, parameters or {}, NOON)


def test_each_day_is_one_step_for_all_shops() -> None:
    steps = planned(REMIND, Days(date(2026, 3, 1), date(2026, 3, 3)), ["b.example", "a.example"])
    assert [step.name for step in steps] == ["2026-03-01", "2026-03-02", "2026-03-03"]
    assert steps[1].parameters == {"today": date(2026, 3, 2), "shops": ["a.example", "b.example"]}
    assert planned(LEVELS, Days(TODAY, TODAY))[0].parameters == {"until": TODAY}
    ends = planned(["shops", "first_day", "last_day"], Days(TODAY, TODAY))[0].parameters
    assert ends == {"first_day": TODAY, "last_day": TODAY}


def test_step_for_a_day_that_is_not_over_in_each_time_zone_is_not_final() -> None:
    yesterday = TODAY - timedelta(days=1)
    for now, is_over in ((NOON, True), (NOON - timedelta(seconds=1), False)):  # at UTC-12, the day begins at noon
        steps = plan(REMIND, Days(yesterday, TODAY), [], {}, now)
        assert [step.is_final for step in steps] == [is_over, False]
        assert [step.name for step in steps] == [
            "2026-03-13" if is_over else "2026-03-13, not over",
            "2026-03-14, not over",
        ]
    assert planned(WARM, Days(), ["a.example"])[0].is_final


def test_without_days_each_shop_is_one_step() -> None:
    steps = planned(WARM, Days(), ["b.example", "a.example", "b.example"], {"force": True})
    assert [step.parameters for step in steps] == [
        {"force": True, "shops": ["a.example"]},
        {"force": True, "shops": ["b.example"]},
    ]


@pytest.mark.parametrize(
    ("known", "days", "shops", "parameters", "message"),
    [
        (WARM, Days(TODAY, TODAY), [], {}, "for no day"),
        (LEVELS, Days(), [], {}, "give the first and the last day"),
        (LEVELS, Days(TODAY, TODAY), ["a.example"], {}, "leave the shops empty"),
        (REMIND, Days(first=TODAY), [], {}, "give both"),
        (REMIND, Days(TODAY, date(2026, 3, 15)), [], {}, "yet to come"),
        (REMIND, Days(date(2020, 1, 1), TODAY), [], {}, f"{MAX_STEPS:,} at most"),
        (WARM, Days(), ["a.example"], {"fource": True}, "no fource; it has shops, force"),
    ],
)
def test_an_invalid_plan_is_refused_with_the_next_step(
    known: Sequence[str], days: Days, shops: Sequence[str], parameters: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        planned(known, days, shops, parameters)


def test_a_steps_tag_identifies_its_job_and_all_parameters() -> None:
    step = Step("x", {"today": TODAY, "shops": ["a.example"]})
    assert step.tag("ask") == Step("y", {"shops": ["a.example"], "today": TODAY}).tag("ask")
    others = [step.tag("warm"), Step("x", {"today": TODAY}).tag("ask"), Step("x", {}).tag("ask")]
    assert len({step.tag("ask"), *others}) == 4
