"""The page about the DNS records of sending domains. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from wishcraft.domain.mail_domains import CheckedRecord, RecordState
from wishcraft.reports.markdown import table
from wishcraft.reports.page import Page, Row, pluralize

_HEADER: Final = ("record", "state", "name", "found", "what to do")
_KEY: Final = "mail-domains"
NO_DOMAIN: Final = "No domain to check: MAIL_FROM is not set, and no shop has a sender of its own."
NO_SELECTORS: Final = (
    "No DKIM key was checked: name the selectors that the mail provider signs with in DKIM_SELECTORS, or in this form."
)


def mail_domains_page(checked: Mapping[str, Sequence[CheckedRecord]]) -> Page:
    """The records of each domain, those to be mended first."""
    if not checked:
        return Page(NO_DOMAIN, "", {_KEY: []})
    records = [record for each in checked.values() for record in each]
    bad = [each for each in records if each.state in {RecordState.MISSING, RecordState.WRONG}]
    weak = [each for each in records if each.state is RecordState.WEAK]
    order = [*bad, *weak, *(each for each in records if each.state is RecordState.OK)]
    rows: list[Row] = [dict(zip(_HEADER, _cells(record), strict=True)) for record in order]
    body = table(_HEADER, [_cells(record) for record in order])
    if not any(record.kind == "DKIM" for record in records):
        body = f"{NO_SELECTORS}\n\n{body}"
    return Page(f"{', '.join(checked)}: {_verdict(len(records), bad, weak)}", body, {_KEY: rows})


def _verdict(number: int, bad: Sequence[CheckedRecord], weak: Sequence[CheckedRecord]) -> str:
    findings = [f"{each.kind} of {each.name} is {each.state}" for each in (*bad, *weak)]
    if not findings:
        return f"all {pluralize(number, 'record')} are in order."
    return f"{len(findings)} of {pluralize(number, 'record')} to be mended: {'; '.join(findings)}."


def _cells(record: CheckedRecord) -> list[str]:
    return [
        record.kind,
        record.state.value,
        record.name,
        record.detail,
        record.remedy.replace("`", "") or "nothing",
    ]  # a table has no Markdown
