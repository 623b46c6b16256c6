"""The protocol of the analysts' reports, their result, and the scope line at the top of a page."""

from typing import Any, Final, NamedTuple, Protocol, TypeVar

import pandas as pd

from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.analytics.filters import ReportFilter
from wishcraft.analytics.reader import Progress, ignore_progress
from wishcraft.domain.periods import Days
from wishcraft.reports.page import Page

PAGE_ROWS: Final = 10
"""Rows of each table on a page."""
PartT_contra = TypeVar("PartT_contra", contravariant=True)


class ReportResult(NamedTuple):
    """The result of a report: a page for the Prefect UI, and its main figures as a frame."""

    page: Page
    frame: pd.DataFrame


class Figures(Protocol[PartT_contra]):
    """The figures of a report, as counts of all registries in its scope."""

    def part(self, name: PartT_contra) -> pd.DataFrame:
        """One part of the report as a frame; the names are those of the report's `Part`."""
        ...


FiguresT = TypeVar("FiguresT", bound=Figures[Any])


class AnalystReport(Protocol[FiguresT]):
    """A report for analysts. Instances hold the parameters: the filter and the time."""

    def count(self, db: AnalystsDatabase, progress: Progress = ignore_progress) -> FiguresT:
        """Read the registries in the report's scope in chunks and count.

        Raises:
            QueryRefused, ConfigurationError, DatabaseUnavailable: As `read_chunks`.
        """
        ...

    def render(self, figures: FiguresT) -> ReportResult:
        """Render the figures as a page."""
        ...

    def build(self, db: AnalystsDatabase, progress: Progress = ignore_progress) -> ReportResult:
        """Count and render.

        Raises:
            QueryRefused, ConfigurationError, DatabaseUnavailable: As `read_chunks`.
        """
        return self.render(self.count(db, progress))


def scope(what: str, report_filter: ReportFilter, days: Days) -> str:
    """The scope line of a page: `Registries created from 2026-01-01; all shops; baby.`"""
    begin = f" from {days.first}" if days.first else ""
    end = f" to {days.last}" if days.last else "" if days.first else " on any day"
    shops = ", ".join(report_filter.shops) or "all shops"
    event_types = ", ".join(report_filter.event_types) or "all event types"
    return f"*{what}{begin}{end}; {shops}; {event_types}.*"
