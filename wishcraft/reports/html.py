"""A report for ops as a mail: Markdown as text and as HTML, its plots as pictures within the mail."""

import base64
import re
from dataclasses import dataclass
from typing import Final

from markdown_it import MarkdownIt

from wishcraft.mail.mailer import Mail, Picture
from wishcraft.mail.messages.rendering import render
from wishcraft.reports.markdown import plain, unbroken

_PLOT: Final = re.compile(r"!\[(?P<said>[^\]]*)\]\(data:image/png;base64,(?P<data>[A-Za-z0-9+/=]+)\)")
_MARKDOWN: Final = MarkdownIt("commonmark", {"html": False}).enable("table")
_LONG_CELL: Final = re.compile(r"<td>(?=[^<]{50})")


@dataclass(frozen=True, slots=True)
class Report:
    """What a report says: its name, all of it in a sentence, the rest as Markdown, and where it is shown."""

    title: str
    verdict: str
    body: str
    link: str = ""


def as_html(report: Report) -> str:
    """The report as a page of HTML that holds its plots too: it needs no other file, and no internet."""
    return _html(report, report.body)


def compose_report(report: Report, recipient: str, message_id: str) -> Mail:
    """The mail. Pictures go along as parts of it: mail programs show neither those of other servers nor `data:`."""
    pictures = [
        Picture(f"plot{number}.png", base64.b64decode(found["data"]))
        for number, found in enumerate(_PLOT.finditer(report.body), start=1)
    ]
    names = iter(picture.name for picture in pictures)
    shown = _PLOT.sub(lambda found: f"![{found['said']}](cid:{next(names)})", report.body)
    told = _PLOT.sub(lambda found: f"[{found['said']}]", report.body)
    return Mail(
        recipient=recipient,
        sender_name="WishCraft",
        subject=f"{report.title}: {report.verdict}",
        text=f"{report.verdict}\n\n{plain(told)}\n\n{report.link}\n",
        html=_html(report, shown),
        message_id=message_id,
        pictures=pictures,
    )


def _html(report: Report, markdown: str) -> str:
    body = _LONG_CELL.sub('<td class="long">', _MARKDOWN.render(unbroken(markdown)))
    return render("report.html", report=report, verdict=unbroken(report.verdict), body=body)
