"""What the maintenance reports have in common: sections that say what is, and what to do about it. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from textwrap import shorten
from typing import Any, Final, NamedTuple

from wishcraft.observability.redaction import redact_text
from wishcraft.reports.markdown import table

NO_DATA: Final = "no data"
MOST_ROWS: Final = 15
"""What a person reads."""
MOST_CHARACTERS: Final = 200
"""Of what is quoted."""
_UNIT: Final = 1024


Row = dict[str, str | int | float]


class Page(NamedTuple):
    """A whole report: one sentence, its Markdown, and tables by what they are of."""

    verdict: str
    body: str
    tables: Mapping[str, Sequence[Row]]


class Earlier(NamedTuple):
    """Rows that an earlier report left, and when."""

    rows: Sequence[Mapping[str, Any]] = ()
    at: datetime | None = None


class Section(NamedTuple):
    """A part of a report: `text` says what to do, `finding` is for the verdict if somebody has to do something."""

    title: str
    text: str
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    finding: str = ""


def compose(sections: Iterable[Section]) -> str:
    """The sections as Markdown, each with the first rows of its table."""
    return "\n\n".join(map(_compose, sections))


def verdict(sections: Iterable[Section]) -> str:
    """One sentence: what somebody has to look at."""
    findings = [section.finding for section in sections if section.finding]
    return f"Look at {'; '.join(findings)}." if findings else "Nothing needs to be done."


def counted(number: int, noun: str) -> str:
    """`1 run`, `2,000 runs`, `3 entries`, `4 indexes`."""
    plural = f"{noun}es" if noun.endswith("x") else f"{noun}s"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        plural = f"{noun[:-1]}ies"
    return f"{number:,} {noun if number == 1 else plural}"


def quoted(text: str) -> str:
    """What comes from outside, in a line, without addresses and secrets; what is long ends at a word."""
    return shorten(redact_text(" ".join(text.split())), MOST_CHARACTERS, placeholder=" …")


def percent(part: float, whole: float) -> str:
    """`98.5 %`; what is not quite all or nothing never reads as if it were."""
    if not whole:
        return NO_DATA
    shown = round(100 * part / whole, 1)
    if part not in {0, whole}:
        shown = min(max(shown, 0.1), 99.9)
    return f"{shown:g} %"


def size(count: float) -> str:
    """Bytes as people say them: `512 B`, `3.4 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < _UNIT:
            return f"{count:.3g} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= _UNIT
    return f"{count:,.1f} TiB"


def duration(seconds: float) -> str:
    """`0.4 s`, `75 s`, `12 min`."""
    if seconds < 10:  # noqa: PLR2004  tenths matter below
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 300 else f"{seconds / 60:.0f} min"  # noqa: PLR2004


def _compose(section: Section) -> str:
    parts = [f"## {section.title}", section.text]
    if section.rows:
        parts.append(table(section.header, section.rows[:MOST_ROWS]))
    if len(section.rows) > MOST_ROWS:
        parts.append(f"And {len(section.rows) - MOST_ROWS:,} more.")
    return "\n\n".join(parts)
