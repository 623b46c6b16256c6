"""Pages of reports: sections, the verdict over them, and number formats. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from wishcraft.observability.redaction import redact_text
from wishcraft.reports.markdown import table

NO_DATA: Final = "no data"
MAX_ROWS: Final = 15
"""Rows of a section's table on the page."""
MAX_CHARACTERS: Final = 200
"""Length of a quoted external text."""
_UNIT: Final = 1024

Row = dict[str, str | int | float]


class Page(NamedTuple):
    """A report: a verdict of one sentence, a Markdown body, and tables by artifact key."""

    verdict: str
    body: str
    tables: Mapping[str, Sequence[Row]]


class PreviousTable(NamedTuple):
    """A table of an earlier report and its time of creation; empty if there is no such report."""

    rows: Sequence[Mapping[str, Any]] = ()
    created_at: datetime | None = None


class Section(NamedTuple):
    """A section of a report: `text` says what to do, `finding` is its part of the verdict, empty without action."""

    title: str
    text: str
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    finding: str = ""


def render_sections(sections: Iterable[Section]) -> str:
    """Render the sections as Markdown, each with the first `MAX_ROWS` rows of its table."""
    return "\n\n".join(map(_render, sections))


def verdict(period: str, sections: Iterable[Section]) -> str:
    """Name the report's period and its sections' findings, in one sentence."""
    findings = [section.finding for section in sections if section.finding]
    return f"{period}: look at {'; '.join(findings)}." if findings else f"{period}: nothing needs to be done."


def pluralize(number: int, noun: str) -> str:
    """Format a number with its noun: `1 run`, `2,000 runs`, `3 entries`, `4 indexes`, `2 misses`."""
    return f"{number:,} {noun if number == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """The plural of a noun: `runs`, `entries`, `indexes`, `misses`."""
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x")) else f"{noun}s"


def short_name(domain: str) -> str:
    """A shop's domain without what all of them end in; any other name as it is."""
    return domain.removesuffix(".myshopify.com")


def redacted_line(text: str) -> str:
    """Format an external text as one line without addresses and secrets, at most `MAX_CHARACTERS` long.

    A longer one is cut at a word, or within a very long one: Japanese has no spaces.
    """
    line = redact_text(" ".join(text.split()))
    if len(line) <= MAX_CHARACTERS:
        return line
    fitting = line[: MAX_CHARACTERS - 1]  # the rest is for the ellipsis
    end = fitting.rfind(" ")
    return f"{fitting[:end] if end > MAX_CHARACTERS // 2 else fitting[:-1]} …"


def format_percent(part: float, whole: float = 1, decimals: int = 2, *, is_padded: bool = False) -> str:
    """Format a share as `98.52 %`, of at least `under 0.01 %`. Only exact values are shown as `0 %` or `100 %`.

    With `is_padded`, all others have all decimals, as `98.50 %`: see `percent_cell`.

    All shares of all reports are formatted here; only cells of a grid have no room for the two decimals.
    """
    if not whole:
        return NO_DATA
    least = 10**-decimals
    shown = round(100 * part / whole, decimals)
    if shown >= 100 and part < whole:  # noqa: PLR2004  all
        shown = 100 - least
    if is_padded and 0 < shown < 100:  # noqa: PLR2004  all
        return f"{shown:.{decimals}f} %"
    return f"{shown:g} %" if shown or not part else f"under {least:g} %"


def percent_cell(part: float, whole: float = 1) -> str:
    """Format a share as `98.50 %`, with as many decimals as the others in its column."""
    return format_percent(part, whole, is_padded=True)


def format_bytes(count: float) -> str:
    """Format a number of bytes: `512 B`, `3.4 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < _UNIT - 0.5:
            # From 1,000 on, three digits would have an exponent.
            is_whole = unit == "B" or abs(count) >= 999.5  # noqa: PLR2004
            return f"{count:.0f} {unit}" if is_whole else f"{count:.3g} {unit}"
        count /= _UNIT
    return f"{count:,.1f} TiB"


def format_duration(seconds: float) -> str:
    """Format a duration: `0.4 s`, `75 s`, `12 min`."""
    if seconds < 10:  # noqa: PLR2004  tenths matter below
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 300 else f"{seconds / 60:.0f} min"  # noqa: PLR2004


def _render(section: Section) -> str:
    parts = [f"## {section.title}", section.text]
    if section.rows:
        parts.append(table(section.header, section.rows[:MAX_ROWS]))
    if len(section.rows) > MAX_ROWS:
        parts.append(f"And {len(section.rows) - MAX_ROWS:,} more.")
    return "\n\n".join(parts)
