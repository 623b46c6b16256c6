from tests.support.tables import table_pixels
from wishcraft.domain.work_results import WorkResult, summary_sentence
from wishcraft.reports.run_summary import render_summary, table_rows
from wishcraft.reports.tables import BOX

SUCCESS = WorkResult("a.example", {"variants": 1200, "low_stock": 0}, 1.5)
LOW = WorkResult("b.example", {"variants": 800, "low_stock": 3}, 2.5)
RETRIED = WorkResult("c.example", {"variants": 5, "low_stock": 0}, tries=2)
FAILED = WorkResult("d.example", problem="Refused: a | b", advice="Ask the merchant.")
STOPPED = WorkResult("e.example", stopped=True)


def test_warning_follows_the_sentence() -> None:
    assert render_summary([SUCCESS], warning="Look at `a`.") == "**1 shop: 1,200 variants.**\n\nLook at `a`."


def test_sentence_leaves_out_counts_of_0() -> None:
    assert summary_sentence([WorkResult("a.example", {"due": 0, "sent": 0})]) == "1 shop: nothing to do."
    assert summary_sentence([WorkResult("a.example", {"due": 2, "sent": 0, "failed": 2})]) == "1 shop: 2 due, 2 failed."


def test_sentence_has_one_thing_in_the_singular_and_says_what_paused_means() -> None:
    one = {"variants": 1, "registries_touched": 1, "misses": 1, "due": 1}
    assert summary_sentence([WorkResult("a", one)]) == "1 shop: 1 variant, 1 registry touched, 1 miss, 1 due."
    paused = summary_sentence([WorkResult("a", {"paused": 1}), WorkResult("b")])
    assert paused == "2 shops: 1 mail waits, as complaints pause a shop."


def test_summary_of_a_clean_run_is_one_sentence() -> None:
    assert render_summary([SUCCESS]) == "**1 shop: 1,200 variants.**"


def test_sentence_names_the_failures() -> None:
    assert summary_sentence([SUCCESS, FAILED]).endswith("Failed: d.example (Refused: a | b).")


def test_sentence_names_at_most_five_failures() -> None:
    failed = [WorkResult(f"{number}.example", problem="Refused") for number in range(1000)]
    assert summary_sentence(failed).endswith("4.example (Refused); and 995 more.")


def test_only_a_successful_run_has_nothing_to_do() -> None:
    assert summary_sentence([]) == "0 shops: nothing to do."
    assert summary_sentence([FAILED]).startswith("1 shop: nothing done.")
    assert summary_sentence([STOPPED]) == "Stopped after 0 of 1 shop: nothing done."


def test_summary_of_a_stopped_run_names_the_unfinished_shops() -> None:
    assert summary_sentence([SUCCESS, STOPPED]).startswith("Stopped after 1 of 2 shops: 1,200 variants")
    assert "Its next run does the rest: e.example." in render_summary([SUCCESS, STOPPED])


def test_failed_shops_are_a_list_that_wraps_with_problem_and_advice() -> None:
    two_lines = WorkResult("e.example", problem="Refused:\nno")
    assert render_summary([FAILED, two_lines]).partition("## Failed\n\n")[2] == (
        "- **d.example:** Refused: a \\| b\n  - What to do: Ask the merchant.\n- **e.example:** Refused: no"
    )


def test_summary_names_retries_and_watched_counts() -> None:
    text = render_summary([SUCCESS, LOW, RETRIED], watched=("low_stock",))
    assert "## Tried again\n\nc.example (2 tries)." in text
    assert text.endswith("## Worth a look\n\n| shop | low stock |\n| --- | ---: |\n| b.example | 3 |")


def test_long_list_is_cut_with_the_number_left_out() -> None:
    failed = [WorkResult(f"{number}.example", problem="Refused") for number in range(25)]
    assert render_summary(failed).endswith("And 5 more shops, in the run's table.")


def test_summary_names_who_did_most_and_who_was_slowest_within_a_bounded_size() -> None:
    results = [WorkResult(f"{n}.myshopify.com", {"warmed": n, "gone": 0}, seconds=n / 4) for n in range(1000)]
    by_shop = render_summary(results, noun="shop").partition("## By shop\n\n")[2]
    assert by_shop == (
        "- **warmed:** 999 999, 998 998, 997 997, 996 996, 995 995; and 994 more\n"
        "- **slowest:** 999 250 s, 998 250 s, 997 249 s, 996 249 s, 995 249 s; and 991 more"
    )
    assert "## By table" in render_summary([WorkResult("logs", {"deleted": 5}), WorkResult("runs")], noun="table")


def test_table_leaves_out_empty_columns_and_fits_the_box_with_the_counts_of_a_sync() -> None:
    counts = {"variants": 7_161, "low_stock": 1_137, "out_of_stock": 1_053, "deleted": 0, "unreadable": 0,
              "items_changed": 1_211, "registries_touched": 1_109, "seconds_of_waiting_for_Shopify": 12}  # fmt: skip
    rows = table_rows([WorkResult("lumiere-maison.myshopify.com", counts, 12.34)])
    assert list(rows[0]) == [
        "shop", "variants", "low stock", "out of stock", "changed", "registries", "waiting (s)", "seconds",
    ]  # fmt: skip
    assert rows[0]["shop"] == "lumiere-maison"
    assert table_pixels(rows) <= BOX
    assert "tries" in table_rows([SUCCESS, RETRIED])[0]


def test_table_is_sorted_by_problem_stopped_and_duration() -> None:
    rows = table_rows([SUCCESS, LOW, STOPPED, FAILED])
    assert [row["shop"] for row in rows] == ["d.example", "e.example", "b.example", "a.example"]
    assert [row["problem"] for row in rows] == ["Refused: a | b", "stopped", "none", "none"]
    assert rows[2] == {"shop": "b.example", "problem": "none", "variants": 800, "low stock": 3, "seconds": 2.5}
    assert table_rows([SUCCESS], noun="table") == [{"table": "a.example", "variants": 1200, "seconds": 1.5}]


def test_examples_of_changes_are_named_for_few_shops_and_cut_with_the_rest_counted() -> None:
    names = [f"Vase {number} | *" for number in range(11)]
    results = [WorkResult(f"{number}.myshopify.com", {"sold": 1}, examples={"gone": names}) for number in range(8)]
    changed = render_summary(results).partition("## What changed\n\n")[2]
    assert changed.startswith("- **gone:** Vase 0 \\| \\*, ")
    assert "Vase 9 \\| \\* and more (0); " in changed
    assert "; and in 3 more\n\n## By shop\n\n- **sold:** 0 1, " in changed
    assert "Vase 10" not in changed
    assert "## What changed" not in render_summary([SUCCESS])


def test_mails_that_were_not_sent_are_explained_in_the_sentence() -> None:
    counts = {"due": 9, "sent": 1, "suppressed": 1, "postponed": 2, "given_up": 1, "held": 3, "waiting": 4}
    assert summary_sentence([WorkResult("a.myshopify.com", counts)]) == (
        "1 shop: 9 due, 1 sent, 1 suppressed (their addresses get no mail), 2 postponed (the next run tries them again)"
        ", 1 given up (tried too often), 3 held (they may have arrived, and are not sent again)"
        ", 4 waiting (a daily limit is reached)."
    )
