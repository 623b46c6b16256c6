"""Tables of Markdown have one row per row and one cell per cell, with any texts."""

import pytest
from markdown_it import MarkdownIt

from wishcraft.reports.markdown import Markup, keep_figures_together, link, link_runbooks, table

PARSER = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])  # as the Prefect UI
HOSTILE = [
    "two\nlines", "two\r\nlines", "two\rlines", "para\n\ngraphs", "a|b", r"a\|b", r"a\\|b", "|",
    "_x_ y", "__x__ a_b __c", "(_x_)", "~~x~~ ~y~", "&lt;x&gt; &#60;", "R&B; a & b",
    "ends with \\", "`a|b`", "[x](y)", "<b>|</b>", "**x**", "\n|---|\n", "line\u2028separator", "form\x0cfeed", "=1|2",
]  # fmt: skip


def cells(markdown: str) -> list[list[str]]:
    """The texts of the table's cells as a reader sees them, row by row; fails if there is anything else."""
    tokens = PARSER.parse(markdown)
    assert (tokens[0].type, tokens[-1].type) == ("table_open", "table_close")
    rows: list[list[str]] = []
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append("".join(child.content for child in token.children or []))
    return rows


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_header_and_cells_are_shown_as_they_are_in_one_line(text: str) -> None:
    line = " ".join(text.splitlines()).strip()
    assert cells(table([text, "b"], [["c", text], [text, "d"]])) == [[line, "b"], ["c", line], [line, "d"]]


def test_markup_cannot_begin_another_cell_or_row() -> None:
    odd = Markup("**a|b**\n| c |")
    assert cells(table(["a", odd], [[odd, "d"]])) == [["a", "a|b | c |"], ["a|b | c |", "d"]]


def test_link_with_a_bar_and_a_line_break_in_its_name_stays_a_link() -> None:
    [_, [cell]] = cells(table(["page"], [[link("a|b\nc]", "https://example.com/?a|b")]]))
    assert cell == "a|b c]"


@pytest.mark.parametrize(
    ("cells", "rule"),
    [
        (["1,234", "–", "5"], "---:"),  # noqa: RUF001  the dash of an empty cell
        (["$12.50", "CA$1", "¥1,500", "KWD\xa01.250"], "---:"),
        (["98.5 %", "no data", "✗ < 0.1 s", "+3.1 points"], "---:"),
        (["3.4 MiB"], "---:"),
        (["2026-03-14"], "---"),
        (["12:30"], "---"),
        (["3", "three"], "---"),
        (["", "–"], "---"),  # noqa: RUF001
        (["1.1 (0.0 to 2.3)"], "---"),
        ([], "---"),
    ],
)
def test_columns_of_figures_are_aligned_right(cells: list[str], rule: str) -> None:
    assert table(["n"], [[cell] for cell in cells]).splitlines()[1] == f"| {rule} |"


def test_code_keeps_its_spaces() -> None:
    code = "```sql\nSELECT 5 > 3, 1 AS s\n```"
    assert keep_figures_together(f"98 %\n\n{code}\n\n5 min") == f"98\xa0%\n\n{code}\n\n5\xa0min"


@pytest.mark.parametrize("path", ["docs/runbooks/job-failed.md", "`docs/runbooks/job-failed.md`"])
def test_runbook_is_a_link_where_its_address_is_known(path: str) -> None:
    linked = "Ask ([runbook job-failed](https://docs.example/runbooks/job-failed.md))."
    assert link_runbooks(f"Ask ({path}).", "https://docs.example/runbooks/") == linked
    assert link_runbooks(f"Ask ({path}).", "docs/runbooks") == f"Ask ({path})."
