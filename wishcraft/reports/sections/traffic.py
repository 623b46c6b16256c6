"""What the API and the mails did, as a report tells of it. Pure."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from wishcraft.reports.page import Section, counted, percent, quoted
from wishcraft.store.mail_statistics import FailedMails
from wishcraft.store.service_minutes import BadMinute


class TrafficTotals(NamedTuple):
    """What the API answered in some stretch of time: how often with 5xx, and how many reads came from the cache."""

    requests: int = 0
    errors: int = 0
    hits: int = 0
    reads: int = 0


def total(parts: Iterable[TrafficTotals]) -> TrafficTotals:
    """All of them together."""
    return TrafficTotals(*map(sum, zip(TrafficTotals(), *parts, strict=True)))


def errors(served: TrafficTotals, worst: Sequence[BadMinute]) -> Section:
    """The minutes with the most errors."""
    if not served.requests:
        return Section("Errors of the API", "No requests were counted: was the API up? `/health` tells how it is.")
    said = f"{counted(served.errors, 'error')} (5xx) in {counted(served.requests, 'request')}"
    if not served.errors:
        return Section("Errors of the API", f"{said}.")
    rows = [(f"{each.minute:%b %d %H:%M}", f"{each.errors:,}", f"{each.requests:,}") for each in worst]
    text = f"{said}: {percent(served.errors, served.requests)}. Look at the API's logs or at Sentry in these minutes."
    return Section(
        "Errors of the API", text, ("minute (UTC)", "errors", "requests"), rows, counted(served.errors, "error")
    )


def mails(failed: Sequence[FailedMails]) -> Section:
    """Mails that were given up; addresses are in none of it."""
    if not failed:
        return Section("Failed mails", "None.")
    rows = [(each.shop, f"{each.mails:,}", quoted(each.reason)) for each in failed]
    total = sum(each.mails for each in failed)
    text = "They are not tried again. The reason is the mail server's; if it is about us, mend SMTP_URL or MAIL_FROM."
    return Section("Failed mails", text, ("shop", "mails", "why"), rows, counted(total, "failed mail"))


def trends(now: TrafficTotals, before: TrafficTotals) -> Section:
    """This week's requests, errors and hits beside those of the week before."""
    rows = [
        ("requests", f"{now.requests:,}", f"{before.requests:,}"),
        ("errors (5xx)", percent(now.errors, now.requests), percent(before.errors, before.requests)),
        ("hits in the cache", percent(now.hits, now.reads), percent(before.hits, before.reads)),
    ]
    said = [f"{counted(now.errors, 'error')}: each day's `daily-report` has the minutes." if now.errors else ""]
    if not before.requests:
        said.append("Of the week before there is nothing to compare with.")
    elif now.requests > before.requests and now.hits * before.reads < before.hits * now.reads:
        said.append("More requests with fewer hits: look at the quotas and at warming, below.")
    text = " ".join(filter(None, [*said, "`service-levels` has the objectives."]))
    finding = counted(now.errors, "error") if now.errors else ""
    return Section("This week and the one before", text, ("", "this week", "the week before"), rows, finding)
