"""Tables and text of Markdown pages. Pure."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

_PLAIN: Final = (
    (re.compile(r"\[((?:[^\]\\\n]|\\.){1,500})\]\(([^()\s]{1,2000})\)"), r"\1 (\2)"),  # links
    (re.compile(r"(?m)^#{1,6} |(?<!\\)\*\*"), ""),  # headings, bold
    (re.compile(r"(?m)^\|(?: --- \|)+\n"), ""),  # the line under a table's header
    (re.compile(r"\\([|*<`\[\]\\])"), r"\1"),  # what `escaped` adds
)
_IN_FIGURES: Final = re.compile(r"(?<=[\d✓✗<>]) (?=[\d<>%]|(?:ms|s|min|[KMGT]?i?B)\b)|(?<=\bno) (?=data\b)")


class Markup(str):
    """A cell that is Markdown already."""

    __slots__ = ()


def link(name: str, url: str) -> Markup:
    """Leads to the page."""
    return Markup(f"[{escaped(name)}]({url})")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; what Markdown would take for its own in the cells is escaped."""
    lines = [header, ["---"] * len(header), *(list(map(escaped, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escaped(text: str) -> str:
    """The text without what Markdown would take for its own: it may quote what comes from outside."""
    if isinstance(text, Markup):
        return text
    return "".join(f"\\{character}" if character in "|*<`[]\\" else character for character in text)


def unbroken(text: str) -> str:
    """The text with figures that no line ends within, such as `✓ 99.9 %`, `3.4 MiB` and `no data`: cells are narrow."""
    return _IN_FIGURES.sub("\N{NO-BREAK SPACE}", text)


def plain(text: str) -> str:
    """Markdown as text for people: links as their names and addresses, tables as their rows, nothing escaped."""
    for markup, instead in _PLAIN:
        text = markup.sub(instead, text)
    return text
