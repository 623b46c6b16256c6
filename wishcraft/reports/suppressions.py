"""The pages about suppressed addresses, known only as hashes. Pure."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from datetime import tzinfo
from typing import Final

from wishcraft.domain import times
from wishcraft.reports.markdown import table
from wishcraft.reports.page import Page, Row, pluralize
from wishcraft.store.suppressions import Suppression

ROWS_ON_THE_PAGE: Final = 50
MOST_ROWS: Final = 1_000
"""Of the table in the Prefect UI; a file has every row."""
_KEY: Final = "mail-suppressions"
_HEADER: Final = ("address hash", "reason", "since")
_NEXT: Final = (
    "The shop sends no mail to these addresses. To end that for some, run this job with the action `lift`, and with"
    " their hashes or the id of their registry."
)


def suppressions_page(shop: str, found: Sequence[Suppression], zone: tzinfo) -> Page:
    """The shop's suppressions, the newest first."""
    if not found:
        return Page(f"{shop}: no suppressed address.", "The shop writes to every address that asked for it.", {})
    counts = Counter(each.reason.value for each in found)
    by_reason = ", ".join(f"{number:,} by {reason}" for reason, number in sorted(counts.items()))
    rows: list[Row] = [
        dict(zip(_HEADER, (each.address_hash.hex(), each.reason.value, _time(each, zone)), strict=True))
        for each in found[:MOST_ROWS]
    ]
    body = f"{_NEXT}\n\n{table(_HEADER, [list(map(str, row.values())) for row in rows[:ROWS_ON_THE_PAGE]])}"
    if len(found) > ROWS_ON_THE_PAGE:
        body += f"\n\nAnd {len(found) - ROWS_ON_THE_PAGE:,} more: see the table, or export them."
    addresses = pluralize(len(found), "suppressed address")
    return Page(f"{shop}: {addresses}, {by_reason}.", body, {_KEY: rows})


def lifted_page(shop: str, wanted: int, lifted: int) -> Page:
    """The page of a run that lifted suppressions."""
    others = f" {pluralize(wanted - lifted, 'other')} had none." if wanted > lifted else ""
    verdict = f"{shop}: {pluralize(lifted, 'suppression')} lifted.{others}"
    text = (
        "The shop writes to these addresses again, and sends the invitations that were not sent for that. What bounced "
        "is not sent again. The audit log has each."
    )
    return Page(verdict, text if lifted else "Nothing has changed.", {})


def imported_page(shop: str, addresses: int, added: int) -> Page:
    """The page of a run that imported suppressions."""
    verdict = f"{shop}: {pluralize(addresses, 'address')} read, {added:,} of them newly suppressed."
    return Page(verdict, "The file was deleted: of addresses, only hashes are kept.", {})


def to_csv(found: Sequence[Suppression]) -> str:
    """The suppressions as a CSV file."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["address_hash", "reason", "since"])
    writer.writerows([each.address_hash.hex(), each.reason.value, times.utc(each.since)] for each in found)
    return text.getvalue()


def _time(each: Suppression, zone: tzinfo) -> str:
    return times.minute(each.since, zone)
