"""The end of a job that sends mail: which refused addresses are suppressed."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from tasks.mail_refusals import judge_refusals
from tasks.runtime.retries import advice_for, problem_of
from wishcraft.domain.mail_references import MailKind
from wishcraft.domain.work_results import WorkResult
from wishcraft.errors import TooManyAddressesRefused
from wishcraft.observability.sentry import capture_error


async def suppress_refused(kind: MailKind, results: Sequence[WorkResult], started: datetime) -> list[WorkResult]:
    """Suppress the addresses that the run had refused; if the refusals are doubted, the shops that had some fail."""
    if not any(result.counts.get("refused") for result in results):
        return list(results)
    try:
        await judge_refusals(kind, started)
    except TooManyAddressesRefused as error:
        capture_error(error)
        return [
            replace(each, problem=problem_of(error), advice=advice_for(error)) if each.counts.get("refused") else each
            for each in results
        ]
    return list(results)
