from wishcraft.domain.work_results import WorkResult, summary_sentence, table_rows
from wishcraft.reports.run_summary import summary

WELL = WorkResult("a.example", {"variants": 1200, "low_stock": 0}, 1.5)
LOW = WorkResult("b.example", {"variants": 800, "low_stock": 3}, 2.5)
AGAIN = WorkResult("c.example", {"variants": 5, "low_stock": 0}, tries=2)
FAILED = WorkResult("d.example", problem="Refused: a | b", advice="Ask the merchant.")
STOPPED = WorkResult("e.example", stopped=True)


def test_a_warning_stands_below_the_sentence() -> None:
    assert summary([WELL], warning="Look at `a`.") == "**1 shop: 1,200 variants.**\n\nLook at `a`."


def test_what_did_not_happen_is_in_no_sentence() -> None:
    assert summary_sentence([WorkResult("a.example", {"due": 0, "sent": 0})]) == "1 shop: nothing to do."
    assert summary_sentence([WorkResult("a.example", {"due": 2, "sent": 0, "failed": 2})]) == "1 shop: 2 due, 2 failed."


def test_a_clean_run_is_one_sentence() -> None:
    assert summary([WELL]) == "**1 shop: 1,200 variants.**"


def test_the_sentence_names_what_failed() -> None:
    assert summary_sentence([WELL, FAILED]).endswith("Failed: d.example (Refused: a | b).")


def test_a_sentence_over_many_failures_stays_short() -> None:
    failed = [WorkResult(f"{number}.example", problem="Refused") for number in range(1000)]
    assert summary_sentence(failed).endswith("4.example (Refused); and 995 more.")


def test_only_a_run_that_went_well_had_nothing_to_do() -> None:
    assert summary_sentence([]) == "0 shops: nothing to do."
    assert summary_sentence([FAILED]).startswith("1 shop: nothing done.")
    assert summary_sentence([STOPPED]) == "Stopped after 0 of 1 shop: nothing done."


def test_a_stopped_run_says_how_far_it_came() -> None:
    assert summary_sentence([WELL, STOPPED]).startswith("Stopped after 1 of 2 shops: 1,200 variants")
    assert "Its next run does the rest: e.example." in summary([WELL, STOPPED])


def test_a_failed_shop_comes_with_what_to_do_and_its_pipes_do_not_break_the_table() -> None:
    assert "| d.example | Refused: a \\| b | Ask the merchant. |" in summary([FAILED])


def test_retries_and_watched_counts_are_named_and_nothing_else() -> None:
    text = summary([WELL, LOW, AGAIN], watched=("low_stock",))
    assert "## Tried again\n\nc.example (2 tries)." in text
    assert text.endswith("## Worth a look\n\n| shop | low stock |\n| --- | --- |\n| b.example | 3 |")


def test_a_long_list_is_cut_and_says_so() -> None:
    failed = [WorkResult(f"{number}.example", problem="Refused") for number in range(25)]
    assert summary(failed).endswith("And 5 more shops, in the run's table.")


def test_the_table_shows_problems_first_then_what_was_stopped_then_the_slowest() -> None:
    rows = table_rows([WELL, LOW, STOPPED, FAILED])
    assert [row["shop"] for row in rows] == ["d.example", "e.example", "b.example", "a.example"]
    assert [row["problem"] for row in rows[:2]] == ["Refused: a | b", "stopped"]
