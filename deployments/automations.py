"""The automations that come with the deployments: dead runs are marked so, and people are told of what goes wrong.

They run in Prefect's server, so they work also when every worker is dead.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events import AutomationCore, EventTrigger, Posture, ResourceSpecification
from prefect.events.actions import ActionTypes, ChangeFlowRunState, DoNothing, SendNotification

from wishcraft.settings import JobSettings

ALERT_BLOCK: Final = "wishcraft-alerts"
"""The notification block that alerts go through. Made from ALERT_WEBHOOK_URL, or by hand in the Prefect UI."""
SILENCE: Final = timedelta(seconds=90)
"""A run that is not heard of for three heartbeats of `deployments.worker` is dead."""
START: Final = timedelta(minutes=5)
"""Between a run's being due, taken by a worker, and begun lie seconds, unless a worker is down or has died."""
TIME_FOR: Final[Mapping[str, timedelta]] = {
    "cache-warm": timedelta(minutes=30),
    "sync-inventory": timedelta(minutes=30),
    "send-reminders": timedelta(minutes=30),
    "cleanup-logs": timedelta(hours=1),
    "cleanup-sessions": timedelta(hours=1),
    "check-invariants": timedelta(minutes=30),
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
"""How long a run of each deployment may take before somebody is told; it goes on all the same."""

_RUNS: Final = ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"})
_ENDS: Final = {f"prefect.flow-run.{name}" for name in ("Completed", "Failed", "TimedOut", "Crashed", "Cancelled")}
_SIGNS_OF_LIFE: Final = {"prefect.flow-run.Running", "prefect.flow-run.heartbeat"}
"""The first heartbeat comes a second after the start, and a run may die before it."""


Alert = Callable[[str], ActionTypes]
"""The action that tells somebody, given the subject."""


async def prepare_automations(client: PrefectClient, settings: JobSettings) -> None:
    """Create the automations, or bring those that exist (by their names) up to date."""
    alert = await _alert(client, settings)
    slow = [tell_of_slow_runs(name, longest, alert) for name, longest in TIME_FOR.items()]
    for automation in (*mark_dead_runs(), tell_of_failures(alert), tell_of_late_starts(alert), *slow):
        existing = await client.read_automations_by_name(automation.name)
        if existing:
            await client.update_automation(existing[0].id, automation)
        else:
            await client.create_automation(automation)


def mark_dead_runs() -> tuple[AutomationCore, AutomationCore]:
    """Runs whose process or machine died end as Crashed, which frees their deployment's slot."""
    return (
        AutomationCore(
            name="Mark runs whose process died",
            description=f"A run that is not heard of for {SILENCE.total_seconds():.0f} s becomes Crashed.",
            trigger=_missing(SILENCE, _SIGNS_OF_LIFE, _ENDS | {"prefect.flow-run.heartbeat"}),
            actions=[_crash("The process that ran this has died. The next run does the rest.")],
        ),
        AutomationCore(
            name="Mark runs that never started",
            description="A run that a worker took and did not start becomes Crashed.",
            trigger=_missing(START, {"prefect.flow-run.Pending"}, _ENDS | {"prefect.flow-run.Running"}),
            actions=[_crash("The worker that took this died before it began. The next run does the work.")],
        ),
    )


def tell_of_failures(alert: Alert) -> AutomationCore:
    """Somebody is told of every run that failed or crashed."""
    bad = {f"prefect.flow-run.{name}" for name in ("Failed", "TimedOut", "Crashed")}
    return AutomationCore(
        name="Alert: a job failed",
        description="Tells of each run that ends Failed, TimedOut or Crashed.",
        trigger=EventTrigger(expect=bad, match=_RUNS, posture=Posture.Reactive, threshold=1),
        actions=[alert("{{ flow.name }}: {{ flow_run.state.name }}")],
    )


def tell_of_late_starts(alert: Alert) -> AutomationCore:
    """Somebody is told when runs wait for a worker for long: none is up, or none keeps up."""
    return AutomationCore(
        name="Alert: a job does not start",
        description="Tells of each run that is late and that no worker takes in 5 minutes more.",
        trigger=_missing(START, {"prefect.flow-run.Late"}, _ENDS | {"prefect.flow-run.Pending"}),
        actions=[alert("{{ flow.name }} does not start: is a worker up?")],
    )


def tell_of_slow_runs(deployment: str, longest: timedelta, alert: Alert) -> AutomationCore:
    """Somebody is told when a run of the deployment is not done in its time."""
    minutes = f"{longest.total_seconds() / 60:.0f} minutes"
    trigger = _missing(longest, {"prefect.flow-run.Running"}, _ENDS)
    trigger.match_related = ResourceSpecification(
        {"prefect.resource.role": "deployment", "prefect.resource.name": deployment}
    )
    return AutomationCore(
        name=f"Alert: {deployment} takes too long",
        description=f"Tells of each run that is not done {minutes} after its start.",
        trigger=trigger,
        actions=[alert(f"{deployment} is not done after {minutes}")],
    )


def _missing(within: timedelta, after: set[str], expect: set[str]) -> EventTrigger:
    """Fires for each run for which nothing of `expect` comes within the time after one of `after`."""
    return EventTrigger(
        after=after,
        expect=expect,
        match=_RUNS,
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=within,
    )


def _crash(message: str) -> ChangeFlowRunState:
    return ChangeFlowRunState(state=StateType.CRASHED, message=message)


async def _alert(client: PrefectClient, settings: JobSettings) -> Alert:
    """How to tell: through the block; without one, by the automation's own event in the Event Feed alone."""
    if settings.alert_webhook_url:
        block = CustomWebhookNotificationBlock(
            name=ALERT_BLOCK,
            url=settings.alert_webhook_url.get_secret_value(),
            json_data={"text": "{{subject}}\n{{body}}"},
        )
        await block.asave(ALERT_BLOCK, overwrite=True)
    named = [each for each in await client.read_block_documents() if each.name == ALERT_BLOCK]
    if not named:
        return lambda _subject: DoNothing()
    body = "{{ flow_run.name }}: {{ flow_run.state.message }}\n{{ flow_run|ui_url|replace('/runs/', '/v2/runs/') }}"
    return lambda subject: SendNotification(block_document_id=named[0].id, subject=subject, body=body)
