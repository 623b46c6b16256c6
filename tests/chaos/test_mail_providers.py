"""A run of reminders through each mail provider, with all its faults, and killed (SIGKILL) again and again."""

import asyncio
import os
import random
import re
import sys
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from deployments.sandbox.http_probe import responds
from deployments.sandbox.mail_providers import SENDGRID_PUBLIC_KEY, TOPIC_ARN, mail_urls
from deployments.sandbox.mail_providers.faults import ProviderFault, ProviderFaultKind
from deployments.sandbox.mailbox.app import create_app
from deployments.sandbox.mailbox.messages import Fault, FaultKind
from deployments.sandbox.processes import ROOT, Program, free_port
from tests.support.aliases import Demo
from tests.support.http_server import served
from tests.support.job_processes import command, environment
from tests.support.killable_process import KillableProcess
from tests.support.waiting import block_until, wait_until
from wishcraft.domain.addresses import address_hash
from wishcraft.services.mail.send import SENDS_AT_ONCE
from wishcraft.settings import Settings

pytestmark = [pytest.mark.chaos, pytest.mark.long]
RECIPIENTS: Final = int(os.environ.get("WISHCRAFT_CHAOS_MAILS", "400"))
KILLS: Final = 5
_ADDRESS: Final = re.compile(r"p\d+@example\.com")


class Expected(NamedTuple):
    """The recipients that meet a fault, by its name."""

    of: dict[str, list[str]]

    @property
    def never(self) -> set[str]:
        """Recipients whose mail the provider refuses for good."""
        return {*self.of["refuse"], *self.of["reject"]}

    @property
    def unknown(self) -> set[str]:
        """Recipients whose mail is accepted without a reply."""
        return {recipient for name in ("fail", "drop") for recipient in self.of.get(name, [])}


class Stack(NamedTuple):
    """A mailbox with the providers, an API and a consumer for their events, and what becomes of the recipients."""

    name: str
    settings: Settings
    mailbox: FastAPI
    logs: Path
    expected: Expected

    def accepted(self) -> Counter[str]:
        """How many mails were accepted for each recipient."""
        return Counter(message.recipients[0] for message in self.mailbox.state.mailbox.messages)


@pytest.fixture(params=["smtp", "ses", "sendgrid"])
def stack(request: pytest.FixtureRequest, tmp_path: Path, base_settings: Settings, demo: Demo) -> Iterator[Stack]:
    """The stack, with the faults set."""
    port = free_port()
    mailbox = create_app(events_url=f"http://127.0.0.1:{port}/api/mail-events")
    mailbox.state.mailbox.messages = deque()  # all are counted
    with served(mailbox) as address:
        urls = {"smtp": f"smtp://127.0.0.1:{mailbox.state.smtp_port}", **mail_urls(address)}
        settings = base_settings.model_copy(
            update={
                "mail_url": SecretStr(urls[request.param]),
                "mail_from": "registry@wishcraft.example",
                "public_url": "https://registry.wishcraft.example",
                "api_port": port,
                "rate_limit_per_minute": 1_000_000,
                "ses_topic_arns": TOPIC_ARN,
                "sns_origin": address,
                "sendgrid_webhook_key": SENDGRID_PUBLIC_KEY,
            }
        )

        def module(name: str) -> KillableProcess:
            program = Program("", (sys.executable, "-m", name), cwd=ROOT, env=environment(settings))
            return KillableProcess(program, tmp_path / f"{name}.log")

        processes = [module("api"), module("deployments.webhooks")]
        try:
            block_until(lambda: responds(f"http://127.0.0.1:{port}/health/readiness"))
            yield Stack(request.param, settings, mailbox, tmp_path, set_faults(request.param, mailbox))
        finally:
            for each in processes:
                each.kill()


def set_faults(name: str, mailbox: FastAPI) -> Expected:
    """Give recipients at random one fault each, and the events of all mails three."""
    chance = random.Random(name)  # noqa: S311  test data
    waiting = chance.sample([f"p{number}@example.com" for number in range(RECIPIENTS)], RECIPIENTS)
    few, some = 4, RECIPIENTS // 50

    def take(kinds: dict[str, int]) -> dict[str, list[str]]:
        return {kind: [waiting.pop() for _ in range(number)] for kind, number in kinds.items()}

    if name == "smtp":
        chosen = take({"unavailable": few, "defer": some, "drop": some, "reject": some, "refuse": some})
        for kind, recipients in chosen.items():
            for recipient in recipients:
                lasting = kind in {"reject", "refuse"}
                mailbox.state.mailbox.faults.set(Fault(FaultKind[kind.upper()], recipient, None if lasting else 1))
        return Expected(chosen)
    replies = take(
        {"too_many_requests": few, "unavailable": few, "fail": some, "drop": some, "reject": some, "refuse": some}
    )
    events = take({"bounce": some, "soft_bounce": some, "complain": 2})
    faults = (mailbox.state.ses if name == "ses" else mailbox.state.sendgrid).faults
    for kind, recipients in (replies | events).items():
        for recipient in recipients:
            lasting = kind in {"reject", "refuse"} or kind in events
            faults.set(ProviderFault(ProviderFaultKind[kind.upper()], recipient, None if lasting else 1, 0.2))
    for kind in ("duplicate", "reorder", "forge"):
        faults.set(ProviderFault(ProviderFaultKind[kind.upper()]))
    return Expected(replies | events)


def add_recipients(demo: Demo) -> None:
    """Let all recipients have confirmed, over the registries of the shop, whose event is in a week."""
    demo.execute("DELETE FROM invitations; DELETE FROM reminders; DELETE FROM email_suppressions")
    demo.execute("TRUNCATE webhook_events")
    demo.execute("UPDATE registries SET event_date = '2026-03-21', status = 'active' WHERE shop_id = 1")
    demo.execute(
        """INSERT INTO invitations (shop_id, registry_id, recipient, state, answer)
           SELECT 1, ids[1 + n %% cardinality(ids)], 'p' || n || '@example.com', 'sent', 'confirmed'
           FROM generate_series(0, %s) AS n, (SELECT array_agg(id) AS ids FROM registries WHERE shop_id = 1) r""",
        [RECIPIENTS - 1],
    )


async def run_and_kill(stack: Stack) -> None:
    """Run the job to its end, after it was killed so often, each time a little later."""

    async def start() -> asyncio.subprocess.Process:
        with (stack.logs / "job.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *command("remind_until_done"), env=environment(stack.settings), stdout=log, stderr=log
            )

    messages = stack.mailbox.state.mailbox.messages
    for kill in range(1, KILLS + 1):
        process, due = await start(), kill * RECIPIENTS // (KILLS + 2)
        try:
            while (before := len(messages)) < due:
                await wait_until(lambda before=before: len(messages) > before, "no mail is sent")  # type: ignore[misc]
        finally:
            process.kill()
            await process.wait()
    assert await (await start()).wait() == 0


def states(demo: Demo) -> dict[str, str]:
    return dict(demo.execute("SELECT recipient, state FROM reminders").fetchall())


def suppressed(demo: Demo) -> set[tuple[int, bytes, str]]:
    return set(demo.execute("SELECT shop_id, address_hash, reason FROM email_suppressions").fetchall())


async def wait_for_events(stack: Stack, demo: Demo) -> None:
    """Wait until all events are sent and handled; fails when for a minute none is."""
    sender = stack.mailbox.state.ses.sender if stack.name == "ses" else stack.mailbox.state.sendgrid.sender

    def left() -> tuple[int, int]:
        row = demo.execute("SELECT count(*) FROM webhook_events WHERE handled_at IS NULL").fetchone()
        assert row
        return sender.background.in_flight, int(row[0])

    while (before := left()) != (0, 0):
        await wait_until(lambda before=before: left() != before, "no event is sent or handled", pause=0.2)  # type: ignore[misc]


async def check_events(stack: Stack, demo: Demo) -> None:
    """The outcomes of the events are stored: of those who got a mail, and of no others, in spite of forged events."""
    of, got = stack.expected.of, stack.accepted().keys()
    reasons = {"bounce": "bounce", "complain": "complaint"}
    wanted = {
        (1, address_hash(1, recipient), reason)
        for kind, reason in reasons.items()
        for recipient in of.get(kind, [])
        if recipient in got
    }
    await wait_for_events(stack, demo)
    assert suppressed(demo) == wanted
    outcomes = Counter(outcome for (outcome,) in demo.execute("SELECT outcome FROM reminders"))
    assert outcomes["bounced"] == len([each for each in of["bounce"] if each in got])
    assert outcomes["complained"] == 2
    assert outcomes["soft_bounced"] == len([each for each in of["soft_bounce"] if each in got])
    assert outcomes["delivered"] == len(got) - outcomes["bounced"] - outcomes["complained"] - outcomes["soft_bounced"]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("recovery", ["resend", "hold"])
async def test_each_recipient_gets_the_reminder_as_declared(stack: Stack, demo: Demo, recovery: str) -> None:
    add_recipients(demo)
    stack = stack._replace(settings=stack.settings.model_copy(update={"reminder_recovery": recovery}))
    await run_and_kill(stack)
    accepted, known, expected = stack.accepted(), states(demo), stack.expected
    assert len(known) == RECIPIENTS
    assert not expected.never & accepted.keys()
    missing = known.keys() - expected.never - accepted.keys()
    repeated = {recipient for recipient, number in accepted.items() if number > 1}
    if recovery == "resend":
        assert not missing
        assert len(repeated - expected.unknown) <= KILLS * SENDS_AT_ONCE
        assert max(accepted.values()) <= 1 + KILLS
        assert "sending" not in known.values()
    else:
        assert not repeated
        held = {recipient for recipient, state in known.items() if state == "sending"}
        assert missing <= held
        settled = set[str]() if stack.name == "smtp" else {*accepted}  # by the events of the providers
        assert expected.unknown <= held | settled
        assert len(held - expected.unknown) <= KILLS * SENDS_AT_ONCE
    if stack.name != "smtp":
        await check_events(stack, demo)
    logs = "".join(path.read_text() for path in stack.logs.glob("*.log"))
    assert logs
    assert not _ADDRESS.search(logs)
