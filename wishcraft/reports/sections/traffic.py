"""The sections on the API's traffic and on failed mails. Pure."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, tzinfo
from typing import NamedTuple

from wishcraft.domain import times
from wishcraft.domain.mail_reputation import BOUNCE_WARNING, COMPLAINT_WARNING, MIN_COMPLAINTS, MIN_MAILS_TO_JUDGE
from wishcraft.domain.work_results import join_names
from wishcraft.reports.page import Section, format_percent, percent_cell, pluralize, redacted_line, short_name
from wishcraft.store.mail_events import ShopOutcomes
from wishcraft.store.mail_statistics import FailedMails
from wishcraft.store.service_minutes import BadMinute
from wishcraft.store.webhook_dead_letters import DeadLetter


class TrafficTotals(NamedTuple):
    """Totals of a period: requests, 5xx responses, hits in the cache, and reads of registries."""

    requests: int = 0
    errors: int = 0
    hits: int = 0
    reads: int = 0


def total(parts: Iterable[TrafficTotals]) -> TrafficTotals:
    """Sum the totals of several periods."""
    return TrafficTotals(*map(sum, zip(TrafficTotals(), *parts, strict=True)))


def errors(served: TrafficTotals, worst: Sequence[BadMinute], zone: tzinfo = UTC) -> Section:
    """The number of errors, and the minutes with the most, in this time zone."""
    if not served.requests:
        return Section("Errors of the API", "No requests were counted. Check that the API is running: see `/health`.")
    summary = f"{pluralize(served.errors, 'error')} (5xx) in {pluralize(served.requests, 'request')}"
    if not served.errors:
        return Section("Errors of the API", f"{summary}.")
    rows = [(times.minute(each.minute, zone), f"{each.errors:,}", f"{each.requests:,}") for each in worst]
    share = format_percent(served.errors, served.requests)
    text = f"{summary}: {share}. Look at the API's logs or at Sentry in these minutes."
    return Section("Errors of the API", text, ("minute", "errors", "requests"), rows, pluralize(served.errors, "error"))


def mails(failed: Sequence[FailedMails]) -> Section:
    """Mails that were given up, by shop and reason; without addresses."""
    if not failed:
        return Section("Failed mails", "None.")
    rows = [(short_name(each.shop), f"{each.mails:,}", redacted_line(each.reason)) for each in failed]
    total = sum(each.mails for each in failed)
    text = (
        "They are not retried. The reason is the mail server's; if it is about the sender, correct MAIL_URL or "
        "MAIL_FROM."
    )
    return Section("Failed mails", text, ("shop", "mails", "why"), rows, pluralize(total, "failed mail"))


def outcomes(counted: Sequence[ShopOutcomes], paused: Sequence[str] = ()) -> Section:
    """Outcomes of mails by shop: the shares by which mailbox providers judge a sender; and paused shops."""
    title = "What became of mails"
    if not counted and not paused:
        return Section(title, "No mail was sent.")
    rows = [
        (
            short_name(each.shop),
            f"{each.mails:,}",
            *(_share(number, each.mails, percent_cell) for number in (each.bounced, each.rejected, each.complained)),
        )
        for each in counted
    ]
    sent, bounced, complained = (
        sum(getattr(each, name) for each in counted) for name in ("mails", "bounced", "complained")
    )
    is_judged = sent >= MIN_MAILS_TO_JUDGE
    text = (
        f"Of {pluralize(sent, 'mail')}, {_share(bounced, sent)} bounced, and recipients complained about "
        f"{_share(complained, sent)}{'' if is_judged else ': too few to judge'}. From {format_percent(BOUNCE_WARNING)} "
        f"and {format_percent(COMPLAINT_WARNING)} on, mail providers review a sender: see the runbook of mail."
    )
    findings = [
        f"{format_percent(number, sent)} of mails {what}"
        for number, limit, what in (
            (bounced, BOUNCE_WARNING, "bounced"),
            (complained, COMPLAINT_WARNING, "complained about"),
        )
        if is_judged and number >= MIN_COMPLAINTS and number >= limit * sent
    ]
    if paused:
        names = join_names(map(short_name, paused))
        text += f" Complaints pause {names}: no mail is sent for it until they are older."
        findings.append(f"no mail of {names}, which complaints pause")
    return Section(title, text, ("shop", "mails", "bounced", "rejected", "complained about"), rows, "; ".join(findings))


def _share(number: int, mails: int, as_percent: Callable[[int, int], str] = format_percent) -> str:
    """The share of so many mails; the number itself if they are too few."""
    return as_percent(number, mails) if mails >= MIN_MAILS_TO_JUDGE else f"{number:,}"


def dead_letters(letters: Sequence[DeadLetter], total: int) -> Section:
    """Webhooks that wait for a person's decision, the oldest first."""
    title = "Dead letters of webhooks"
    if not total:
        return Section(title, "None.")
    rows = [
        (short_name(each.shop_domain), each.topic, redacted_line(each.failures[-1]["reason"]) if each.failures else "")
        for each in letters
    ]
    more = f" The oldest {len(letters)} are shown." if total > len(letters) else ""
    text = f"They wait until a person replays or discards them: `webhook-dead-letters`.{more}"
    return Section(title, text, ("shop", "topic", "why"), rows, pluralize(total, "dead letter"))


def trends(now: TrafficTotals, before: TrafficTotals) -> Section:
    """This week's requests, errors and hits, compared with the week before."""
    rows = [
        ("requests", f"{now.requests:,}", f"{before.requests:,}"),
        ("errors (5xx)", percent_cell(now.errors, now.requests), percent_cell(before.errors, before.requests)),
        ("hits in the cache", percent_cell(now.hits, now.reads), percent_cell(before.hits, before.reads)),
    ]
    notes = [f"{pluralize(now.errors, 'error')}: see the minutes in each `daily-report`." if now.errors else ""]
    if not before.requests:
        notes.append("There is nothing to compare with in the week before.")
    elif now.requests > before.requests and now.hits * before.reads < before.hits * now.reads:
        notes.append("More requests with fewer hits: look at the quotas and at warming, below.")
    text = " ".join(filter(None, [*notes, "`service-levels` has the objectives."]))
    finding = pluralize(now.errors, "error") if now.errors else ""
    return Section("This week and the one before", text, ("", "this week", "the week before"), rows, finding)
