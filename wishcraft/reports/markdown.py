"""Markdown tables, links and escaping. Pure."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

_TO_TEXT: Final = (
    (re.compile(r"\[((?:[^\]\\\n]|\\.){1,500})\]\(([^()\s]{1,2000})\)"), r"\1 (\2)"),  # links
    (re.compile(r"(?m)^#{1,6} |(?<!\\)\*\*"), ""),  # headings, bold
    (re.compile(r"(?m)^\|(?: ---:? \|)+\n"), ""),  # the line under a table's header
    (re.compile(r"\\([|*<`\[\]\\~_&])"), r"\1"),  # what `escape` adds
)
_FENCED: Final = re.compile(r"(?ms)^```.*?^```$")
"""Code, which stays as it is: people copy it."""
_FIGURE: Final = re.compile(
    r"(?:[✓✗] )?[-+<]?[A-Z]{0,3}[^\w\s]?[ \xa0]?\d[\d,.]*(?:[ \xa0]?(?:%|points|ms|s|min|h|[KMGT]?i?B))?"
)
"""A number as `1,234`, `98.5 %`, `$12.50` or `3.4 MiB`, and no date."""
_NO_FIGURE: Final = frozenset({"", "–", "no data"})  # noqa: RUF001  an en dash, as in empty cells
_SYNTAX: Final = re.compile(r"[|*<`\[\]\\~]|(?<!\w)_++|(?<!_)_++(?!\w)|&(?=#?\w+;)")
"""Characters that Markdown would not show: also underscores beside a word, and what begins an entity such as `&lt;`."""
_BAR: Final = re.compile(r"(?<!\\)\|")
_SPACE_IN_FIGURE: Final = re.compile(r"(?<=[\d✓✗<>]) (?=[\d<>%]|(?:ms|s|min|[KMGT]?i?B)\b)|(?<=\bno) (?=data\b)")

_RUNBOOK: Final = re.compile(r"`?docs/runbooks/([\w-]+)\.md`?")
"""A runbook as advice names it."""


class Markup(str):
    """Text that is Markdown and is not escaped in a table."""

    __slots__ = ()


def link(name: str, url: str) -> Markup:
    """Format a link; the name is escaped."""
    return Markup(f"[{escape(name)}]({url})")


def link_runbooks(text: str, runbook_url: str) -> str:
    """Turn the paths of runbooks in Markdown into links, if `runbook_url` (RUNBOOK_URL) is an address."""
    if "://" not in runbook_url:
        return text
    return _RUNBOOK.sub(lambda found: link(f"runbook {found[1]}", f"{runbook_url.rstrip('/')}/{found[1]}.md"), text)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a table; the header and the cells are escaped unless they are `Markup`. Columns of figures end right."""
    cells = list(rows)
    lines = [
        list(map(_cell, header)),
        ["---:" if _are_figures([row[place] for row in cells]) else "---" for place in range(len(header))],
        *(list(map(_cell, row)) for row in cells),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _are_figures(cells: Sequence[str]) -> bool:
    figures = [cell for cell in cells if cell not in _NO_FIGURE]
    return bool(figures) and all(map(_FIGURE.fullmatch, figures))


def _cell(text: str) -> str:
    """The text in one line; a bar that nothing escapes would begin another cell, also in `Markup`."""
    return " ".join(_BAR.sub(r"\|", escape(text)).splitlines())


def escape(text: str) -> str:
    """Escape the Markdown syntax of a text, which may come from outside; `Markup` stays unchanged."""
    if isinstance(text, Markup):
        return text
    return _SYNTAX.sub(lambda found: "".join(f"\\{character}" for character in found[0]), text)


def keep_figures_together(text: str) -> str:
    """Put no-break spaces into figures such as `✓ 99.9 %`, `3.4 MiB` and `no data`, for narrow cells; not into code."""
    end, parts = 0, []
    for code in _FENCED.finditer(text):
        parts += [_SPACE_IN_FIGURE.sub("\N{NO-BREAK SPACE}", text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, _SPACE_IN_FIGURE.sub("\N{NO-BREAK SPACE}", text[end:])])


def to_plain_text(text: str) -> str:
    """Turn Markdown into plain text: links as `name (address)`, tables as rows, escapes removed."""
    for pattern, replacement in _TO_TEXT:
        text = pattern.sub(replacement, text)
    return text
