"""Prefect automations: set dead runs to Crashed, and send alerts.

They run in Prefect's server and therefore also work when every worker is dead.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final, NamedTuple

from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events import AutomationCore, EventTrigger, Posture, ResourceSpecification
from prefect.events.actions import ActionTypes, ChangeFlowRunState, DoNothing, SendNotification

from tasks.runtime.ui_links import run_page, runs_page
from wishcraft.services.operations.prefect_api import read_pages
from wishcraft.settings import JobSettings

ALERT_BLOCK: Final = "wishcraft-alerts"
"""The notification block for alerts. Created from ALERT_WEBHOOK_URL, or by hand in the Prefect UI."""
SILENCE_TIMEOUT: Final = timedelta(seconds=90)
"""A run without a sign of life for three heartbeats of `deployments.worker` is dead."""
START_TIMEOUT: Final = timedelta(minutes=3)
"""A run that a worker took, and that has not begun after this time, is dead. A start takes a second, but minutes on a
machine with 30 busy processes on two cores, where 90 s ended a run that was about to begin."""
PICKUP_TIMEOUT: Final = timedelta(minutes=5)
"""If no worker takes any run for this long after one was late, none is alive; normal are seconds."""
QUIET: Final = timedelta(hours=1)
"""How long an alert is not repeated, of failures that of the same job: an outage fails and delays runs by the dozen."""
LATE_WATCH: Final = "Notice that no job starts"
"""Name of the automation that the alert "a job does not start" follows."""
MAX_DURATION: Final[Mapping[str, timedelta]] = {
    "cache-warm": timedelta(minutes=30),
    "sync-inventory": timedelta(minutes=30),
    "reconcile-orders": timedelta(hours=1),
    "send-reminders": timedelta(minutes=30),
    "send-invitations": timedelta(minutes=30),
    "cleanup-logs": timedelta(hours=1),
    "cleanup-sessions": timedelta(hours=1),
    "check-invariants": timedelta(minutes=30),
    "shop-settings": timedelta(minutes=10),
    "audit-trail": timedelta(minutes=5),
    "replay-erasures": timedelta(hours=1),
    "mail-domains": timedelta(minutes=5),
    "mail-suppressions": timedelta(minutes=10),
    "match-purchases": timedelta(minutes=5),
    "webhook-dead-letters": timedelta(minutes=10),
    "webhook-sweep": timedelta(minutes=10),
    "service-levels": timedelta(minutes=30),
    "daily-report": timedelta(minutes=30),
    "weekly-report": timedelta(minutes=30),
    "monthly-report": timedelta(minutes=30),
    "registry-report": timedelta(minutes=30),
    "conversion-report": timedelta(minutes=30),
    "demand-forecast": timedelta(minutes=30),
    "export-data": timedelta(hours=1),
    "ask": timedelta(minutes=5),
    "backfill": timedelta(hours=5),
}
"""Duration of a run, by deployment, after which an alert is sent. The run continues."""

_RUNS: Final = ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"})
_OF_A_DEPLOYMENT: Final = ResourceSpecification({"prefect.resource.role": "deployment"})
"""Runs that a worker started. A flow that is called in a shell or a notebook may send no heartbeats."""


def _events(*names: str) -> set[str]:
    """An event of a run has the name of its new state, not the state's type."""
    return {f"prefect.flow-run.{name}" for name in names}


_HEARTBEAT: Final = _events("heartbeat")
_STARTS: Final = _events("Pending", "Submitting", "InfrastructurePending", "Running", "Retrying")
"""From the moment when a worker takes a run. The first heartbeat comes a second after Running."""
_ENDS: Final = _events("Completed", "Failed", "TimedOut", "Crashed", "Cancelled", "Refused")
"""One for each name of a terminal state."""
_WAITS: Final = _events("Scheduled", "Late", "AwaitingConcurrencySlot", "Suspended", "Resuming")
"""States without a process; such a run holds no concurrency slot."""
_TAKEN: Final = _ENDS | _STARTS | _events("AwaitingConcurrencySlot")
"""States of a run that a worker has taken. One that waits for its turn was taken, and is not late."""


_RUN: Final = """\
Run: {{ flow_run.name }}\
{{ "" if " · " in flow_run.name else flow_run.expected_start_time.strftime(", due %Y-%m-%d %H:%M UTC") }}
What happened: {{ flow_run.state.message or flow_run.state.name }}"""
"""The run of an alert, for Prefect's Jinja. Its name has the shops and when it was due, once it has started."""


class Alert(NamedTuple):
    """The parts of an alert, each a template for Prefect's Jinja."""

    subject: str
    what: str
    advice: str
    page: str
    """Name of a page in docs/runbooks."""
    link: str


AlertAction = Callable[[Alert], ActionTypes]
"""Creates the action that sends an alert."""


async def prepare_automations(client: PrefectClient, settings: JobSettings) -> None:
    """Create the automations; existing ones with the same names are updated."""
    alert = await _alert_action(client, settings)
    existing = {each.name: each for each in await read_pages(client.read_automations)}
    slow = [alert_on_slow_runs(name, max_duration, alert) for name, max_duration in MAX_DURATION.items()]
    late = notice_late_starts(), alert_on_late_starts(alert)
    for automation in (*end_dead_runs(), alert_on_failures(alert), *late, *slow):
        found = existing.get(automation.name)
        if found is None:
            await client.create_automation(automation)
        elif any(getattr(found, name) != getattr(automation, name) for name in AutomationCore.model_fields):
            await client.update_automation(found.id, automation)


def end_dead_runs() -> tuple[AutomationCore, ...]:
    """End runs whose process or machine died, which frees their concurrency slots.

    Prefect refuses these changes of a run that has ended, so a lost or late event ends no run twice.
    """
    seconds = f"{SILENCE_TIMEOUT.total_seconds():.0f} s"
    expect = _HEARTBEAT | _STARTS | _ENDS | _WAITS | _events("Cancelling")
    return (
        AutomationCore(
            name="Mark runs whose process died",
            description=f"Sets a run without a heartbeat for {seconds} to Crashed.",
            trigger=_absence_trigger(SILENCE_TIMEOUT, _HEARTBEAT, expect),
            actions=[_end_action(StateType.CRASHED, "The process of this run died. The next run does the rest.")],
        ),
        AutomationCore(
            name="Mark runs that never started",
            description="Sets a run that a worker took, and that has no heartbeat 3 minutes later, to Crashed.",
            trigger=_absence_trigger(START_TIMEOUT, _STARTS, expect, _OF_A_DEPLOYMENT),
            actions=[
                _end_action(
                    StateType.CRASHED,
                    "The worker or the process of this run died at its start. The next run does the work.",
                )
            ],
        ),
        AutomationCore(
            name="Mark runs whose cancellation has no end",
            description=f"Sets a run that is still Cancelling after {seconds} to Cancelled.",
            trigger=_absence_trigger(SILENCE_TIMEOUT, _events("Cancelling"), _ENDS),
            actions=[_end_action(StateType.CANCELLED, "No worker ended this run. Committed work is kept.")],
        ),
    )


def alert_on_failures(alert: AlertAction) -> AutomationCore:
    """Send an alert when a run ends Failed, TimedOut or Crashed: one an hour for each job."""
    return AutomationCore(
        name="Alert: a job failed",
        description="Sends an alert when a run ends Failed, TimedOut or Crashed, and the job's next one an hour later.",
        trigger=EventTrigger(
            expect=_events("Failed", "TimedOut", "Crashed"),
            match=_RUNS,
            for_each={"related:flow:prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
            within=QUIET,
        ),
        actions=[
            alert(
                Alert(
                    "{{ flow.name }}: {{ flow_run.state.name }}",
                    _RUN,
                    "Open the run: its summary says what failed and what to do. What is done stays done, and the next"
                    f" run does the rest. For an hour, further failures of this job send no alert: {runs_page()}",
                    "{{ 'job-crashed' if flow_run.state.name == 'Crashed' else 'job-failed' }}",
                    run_page("{{ flow_run.id }}"),
                )
            )
        ],
    )


def notice_late_starts() -> AutomationCore:
    """Fire when a run is late and no worker takes any run: if one takes others, this one has its turn."""
    return AutomationCore(
        name=LATE_WATCH,
        description="Fires if no worker takes a run within 5 minutes of a late one. A second automation alerts.",
        trigger=_absence_trigger(
            PICKUP_TIMEOUT, _events("Late"), _TAKEN, for_each="related:work-pool:prefect.resource.id"
        ),
        actions=[DoNothing()],
    )


def alert_on_late_starts(alert: AlertAction) -> AutomationCore:
    """Send an alert when the automation of `notice_late_starts` fires: one an hour, for all late runs."""
    return AutomationCore(
        name="Alert: a job does not start",
        description="Sends an alert when late runs start no more, and the next one an hour later.",
        trigger=EventTrigger(
            expect={"prefect.automation.triggered"},
            match=ResourceSpecification(
                {"prefect.resource.id": "prefect.automation.*", "prefect.resource.name": LATE_WATCH}
            ),
            posture=Posture.Reactive,
            threshold=1,
            within=QUIET,
        ),
        actions=[
            alert(
                Alert(
                    "Jobs do not start: is a worker up?",
                    "What happened: a run is late, and no worker has taken one for 5 minutes.",
                    "Check that a worker runs and reaches Prefect. It takes the late runs as soon as it does.",
                    "scheduler",
                    runs_page(),
                )
            )
        ],
    )


def alert_on_slow_runs(deployment: str, max_duration: timedelta, alert: AlertAction) -> AutomationCore:
    """Send an alert for every run of the deployment that exceeds `max_duration`; the run continues."""
    minutes = f"{max_duration.total_seconds() / 60:.0f} minutes"
    related = ResourceSpecification({"prefect.resource.role": "deployment", "prefect.resource.name": deployment})
    return AutomationCore(
        name=f"Alert: {deployment} takes too long",
        description=f"Sends an alert for each run that is not done {minutes} after its start.",
        trigger=_absence_trigger(max_duration, _events("Running"), _ENDS, related),
        actions=[
            alert(
                Alert(
                    f"{deployment} is not done after {minutes}",
                    _RUN,
                    "Open the run: its progress and log say whether it works. It continues; cancel it if it hangs.",
                    "job-stale",
                    run_page("{{ flow_run.id }}"),
                )
            )
        ],
    )


def _absence_trigger(
    within: timedelta,
    after: set[str],
    expect: set[str],
    related: ResourceSpecification | None = None,
    *,
    for_each: str = "prefect.resource.id",
) -> EventTrigger:
    """Fires for each run that has no event of `expect` within the time after an event of `after`.

    An event in both starts the time again. `related` selects runs by a resource that their events name. Events with the
    same value of the label `for_each` count for each other. Without such a label, Prefect would start the time by
    itself, and fire when no run is due in that time.
    """
    return EventTrigger(
        after=after,
        expect=expect,
        match=_RUNS,
        match_related=related or ResourceSpecification({}),
        for_each={for_each},
        posture=Posture.Proactive,
        threshold=1,
        within=within,
    )


def _end_action(state: StateType, message: str) -> ChangeFlowRunState:
    return ChangeFlowRunState(state=state, message=message)


async def _alert_action(client: PrefectClient, settings: JobSettings) -> AlertAction:
    """Alerts go through the notification block; without one, they are only events in Prefect's Event Feed."""
    if settings.alert_webhook_url:
        block = CustomWebhookNotificationBlock(
            name=ALERT_BLOCK,
            url=settings.alert_webhook_url.get_secret_value(),
            json_data={"text": "{{subject}}\n{{body}}"},
        )
        await block.asave(ALERT_BLOCK, overwrite=True)
    named = [each for each in await client.read_block_documents() if each.name == ALERT_BLOCK]
    if not named:
        return lambda _: DoNothing()

    def send(parts: Alert) -> SendNotification:
        runbook = f"{settings.runbook_url.rstrip('/')}/{parts.page}.md"
        if "://" not in runbook:
            runbook = f"the file {runbook} of the project"
        body = f"{parts.what}\nWhat to do: {parts.advice}\nRunbook: {runbook}\n{parts.link}"
        return SendNotification(block_document_id=named[0].id, subject=parts.subject, body=body)

    return send
