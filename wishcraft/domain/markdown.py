"""Tables and text of Markdown pages. Pure."""

from collections.abc import Iterable, Sequence


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
    return "".join(f"\\{character}" if character in "|*<`[\\" else character for character in text)
