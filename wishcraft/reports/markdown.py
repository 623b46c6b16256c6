"""Markdown tables, links and escaping. Pure."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

_TO_TEXT: Final = (
    (re.compile(r"\[((?:[^\]\\\n]|\\.){1,500})\]\(([^()\s]{1,2000})\)"), r"\1 (\2)"),  # links
    (re.compile(r"(?m)^#{1,6} |(?<!\\)\*\*"), ""),  # headings, bold
    (re.compile(r"(?m)^\|(?: --- \|)+\n"), ""),  # the line under a table's header
    (re.compile(r"\\([|*<`\[\]\\])"), r"\1"),  # what `escape` adds
)
_BAR: Final = re.compile(r"(?<!\\)\|")
_SPACE_IN_FIGURE: Final = re.compile(r"(?<=[\d✓✗<>]) (?=[\d<>%]|(?:ms|s|min|[KMGT]?i?B)\b)|(?<=\bno) (?=data\b)")


class Markup(str):
    """Text that is Markdown and is not escaped in a table."""

    __slots__ = ()


def link(name: str, url: str) -> Markup:
    """Format a link; the name is escaped."""
    return Markup(f"[{escape(name)}]({url})")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a table; the header and the cells are escaped unless they are `Markup`."""
    lines = [list(map(_cell, header)), ["---"] * len(header), *(list(map(_cell, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    """The text in one line; a bar that nothing escapes would begin another cell, also in `Markup`."""
    return " ".join(_BAR.sub(r"\|", escape(text)).splitlines())


def escape(text: str) -> str:
    """Escape the Markdown syntax of a text, which may come from outside; `Markup` stays unchanged."""
    if isinstance(text, Markup):
        return text
    return "".join(f"\\{character}" if character in "|*<`[]\\" else character for character in text)


def keep_figures_together(text: str) -> str:
    """Put no-break spaces into figures such as `✓ 99.9 %`, `3.4 MiB` and `no data`, for narrow cells."""
    return _SPACE_IN_FIGURE.sub("\N{NO-BREAK SPACE}", text)


def to_plain_text(text: str) -> str:
    """Turn Markdown into plain text: links as `name (address)`, tables as rows, escapes removed."""
    for pattern, replacement in _TO_TEXT:
        text = pattern.sub(replacement, text)
    return text
