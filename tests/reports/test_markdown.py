"""Tables of Markdown have one row per row and one cell per cell, whatever their texts contain."""

import pytest
from markdown_it import MarkdownIt

from wishcraft.reports.markdown import Markup, link, table

PARSER = MarkdownIt("commonmark", {"html": False}).enable("table")
HOSTILE = [
    "two\nlines", "two\r\nlines", "two\rlines", "para\n\ngraphs", "a|b", r"a\|b", r"a\\|b", "|",
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
