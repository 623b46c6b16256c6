"""What the analysts' reports share: the filter's line over a page, and the result."""

from typing import NamedTuple

import pandas as pd

from wishcraft.analytics.reader import ReportFilter
from wishcraft.domain.periods import Days
from wishcraft.reports.page import Page


def scope(what: str, question: ReportFilter, days: Days) -> str:
    """The line over a page that says what it is about: `Registries created from 2026-01-01; all shops; baby.`"""
    begin = f" from {days.first}" if days.first else ""
    end = f" to {days.last}" if days.last else "" if days.first else " on any day"
    chosen = [", ".join(question.shops) or "all shops", ", ".join(question.event_types) or "all event types"]
    return f"*{what}{begin}{end}; {'; '.join(chosen)}.*"


class ReportResult(NamedTuple):
    """What a report finds: a page for people, and its main figures as a frame."""

    page: Page
    frame: pd.DataFrame
