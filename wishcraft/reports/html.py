"""A report as an HTML page or as a mail: Markdown as text and HTML, plots embedded."""

import base64
import itertools
import re
from dataclasses import dataclass
from html import unescape
from typing import Final

from markdown_it import MarkdownIt

from wishcraft.mail.mailer import InlineImage, Mail
from wishcraft.rendering.templates import render
from wishcraft.reports.markdown import keep_figures_together, to_plain_text

_PLOT: Final = re.compile(r"!\[(?P<alt>[^\]]*)\]\(data:image/png;base64,(?P<data>[A-Za-z0-9+/=]+)\)")
_MARKDOWN: Final = MarkdownIt("commonmark", {"html": False}).enable("table")
_LONG_CELL: Final = re.compile(r"<td>(?=[^<]{50})")
_TABLE: Final = re.compile(r"<table>.*?</table>", re.DOTALL)
_HEADER: Final = re.compile(r"<th\b[^>]*>(.*?)</th>", re.DOTALL)
_BODY_CELL: Final = re.compile(r"<td\b[^>]*>")
_CELL: Final = re.compile(r"<td\b[^>]*>(.*?)</td>", re.DOTALL)
_TAG: Final = re.compile(r"<[^>]*>")
_COLUMNS_OF_A_PHONE, _CHARACTERS_OF_A_PHONE = 3, 50
"""A table with more is shown on phones as a list of its rows, each value with the name of its column."""
_FIGURES_FIRST: Final = re.compile(r"<tr>\s*<th style=\"text-align:right\">")
_GAP: Final = 2
"""Characters between two columns."""


@dataclass(frozen=True, slots=True)
class Report:
    """A report to send or save: its title, the verdict, the body as Markdown, and a link to it in the Prefect UI."""

    title: str
    verdict: str
    body: str
    link: str = ""


def as_html(report: Report) -> str:
    """Render the report as a self-contained HTML page: plots are embedded, nothing is loaded from the internet."""
    return _html(report, report.body)


def as_mail(report: Report, recipient: str, message_id: str) -> Mail:
    """Compose the mail. Plots are attached as inline parts: mail programs show neither remote nor `data:` images."""
    images = [
        InlineImage(f"plot{number}.png", base64.b64decode(plot["data"]))
        for number, plot in enumerate(_PLOT.finditer(report.body), start=1)
    ]
    names = iter(image.name for image in images)
    with_parts = _PLOT.sub(lambda plot: f"![{plot['alt']}](cid:{next(names)})", report.body)
    without_plots = _PLOT.sub(lambda plot: f"[{plot['alt']}]", report.body)
    return Mail(
        recipient=recipient,
        sender_name="WishCraft",
        subject=f"{report.title}: {report.verdict}",
        text=f"{report.verdict}\n\n{to_plain_text(without_plots)}\n\n{report.link}\n",
        html=_html(report, with_parts),
        message_id=message_id,
        inline_images=images,
    )


def _html(report: Report, markdown: str) -> str:
    body = _LONG_CELL.sub('<td class="long">', _MARKDOWN.render(keep_figures_together(markdown)))
    body = _TABLE.sub(lambda table: _label_cells(table[0]), body)
    return render("report.html", report=report, verdict=keep_figures_together(report.verdict), body=body)


def _label_cells(table: str) -> str:
    """The table with the name of its column in each cell, which phones alone show; not in those that name the row."""
    headers = _HEADER.findall(table)
    if _fits_a_phone(table, len(headers)):
        return table
    # Inline, because some mail programs ignore the style sheet.
    labelled_headers = [f'<span class="label" style="display:none">{name}</span>' for name in headers]
    if not _FIGURES_FIRST.search(table):
        labelled_headers[0] = ""
    labels = itertools.cycle(labelled_headers)
    labelled = _BODY_CELL.sub(lambda cell: f"{cell[0]}{next(labels)}", table)
    return labelled.replace("<table>", '<table class="wide">', 1)


def _fits_a_phone(table: str, columns: int) -> bool:
    cells = [len(unescape(_TAG.sub("", cell))) for cell in _CELL.findall(table)]
    widths = [max(cells[place::columns], default=0) + _GAP for place in range(columns)]
    return columns <= _COLUMNS_OF_A_PHONE and sum(widths) <= _CHARACTERS_OF_A_PHONE
