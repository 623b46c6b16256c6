"""Reminders of a run that is killed (SIGKILL) at different moments, and the next run."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest
from pydantic import SecretStr

from deployments.sandbox.mailbox.messages import Fault, FaultKind, Mailbox
from tests.support.invitations import confirm_everyone
from tests.support.job_processes import command, environment
from tests.support.reminders import NOW, Demo
from tests.support.waiting import wait_until
from wishcraft.resources import Resources, open_resources
from wishcraft.services.reminders.send import remind_shop
from wishcraft.settings import Settings
from wishcraft.store.shops import ShopRef

pytestmark = pytest.mark.chaos
GATE = 4_711
EMMA, HUGO = "emma@example.com", "hugo@example.com"


@pytest.fixture(autouse=True)
def _two_to_remind(demo: Demo, shop: ShopRef) -> None:
    """Two due reminders: Emma's and Hugo's, a week before their event."""
    demo.execute("UPDATE registries SET event_date = %s", [NOW.date() + timedelta(60)])
    demo.execute(
        """UPDATE registries SET event_date = %s, status = 'active', customer_email = 'emma@example.com',
               co_registrants = '[{"first_name": "Hugo", "email": "hugo@example.com"}]'
           WHERE id = (SELECT min(id) FROM registries WHERE shop_id = %s)""",
        [NOW.date() + timedelta(7), shop.id],
    )
    confirm_everyone(demo)


@contextmanager
def gate(demo: Demo, state: str, table: str = "reminders") -> Iterator[Callable[[], bool]]:
    """Block each transaction that sets a row of the table to this state; yields whether one is blocked."""
    demo.execute(
        f"""CREATE FUNCTION wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_advisory_xact_lock({GATE}); RETURN NEW; END $$;
            CREATE TRIGGER gate BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW
            WHEN (NEW.state = '{state}') EXECUTE FUNCTION wait_at_gate()"""
    )
    waiting = """SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                 WHERE d.datname = current_database() AND l.objid = %s AND l.locktype = 'advisory' AND NOT l.granted"""
    try:
        with psycopg.connect(demo.info.dsn, password=demo.info.password, autocommit=True) as keeper:
            keeper.execute("SELECT pg_advisory_lock(%s)", [GATE])
            yield lambda: demo.execute(waiting, [GATE]).fetchone() == (1,)
    finally:
        demo.execute(f"DROP TRIGGER gate ON {table}; DROP FUNCTION wait_at_gate")


async def kill_when(settings: Settings, moment: Callable[[], bool], *arguments: str) -> None:
    """Let a process of its own send the shop's mail, and kill it with -9 at the moment."""
    process = await asyncio.create_subprocess_exec(*command("mail_demo_shop", *arguments), env=environment(settings))
    await wait_until(lambda: moment() or process.returncode is not None, "the moment never came", pause=0)
    assert process.returncode is None, "the run ended"
    process.kill()
    await process.wait()


def states(demo: Demo) -> dict[str, str]:
    return dict(demo.execute("SELECT recipient, state FROM reminders").fetchall())


def ids(mailbox: Mailbox) -> list[str]:
    return [str(received.parsed["Message-ID"]) for received in mailbox.messages]


@pytest.mark.parametrize(
    ("state", "left", "copies"),
    [
        pytest.param("pending", set(), 2, id="while what is owed is written down"),
        pytest.param("sending", {"pending"}, 2, id="while a reminder is claimed"),
        pytest.param("sent", {"sending", "pending"}, 3, id="between acceptance and commit"),
    ],
)
async def test_under_resend_the_next_run_completes_a_killed_one(
    resources: Resources,
    settings: Settings,
    demo: Demo,
    shop: ShopRef,
    mailbox: Mailbox,
    state: str,
    left: set[str],
    copies: int,
) -> None:
    with gate(demo, state) as reached:
        await kill_when(settings, reached)
        assert set(states(demo).values()) == left
    counts = await remind_shop(resources, settings, shop, now=NOW)
    assert (counts["sent"], counts["held"]) == (2, 0)
    assert set(states(demo).values()) == {"sent"}
    assert (len(ids(mailbox)), len(set(ids(mailbox)))) == (copies, 2)  # a second copy has the first one's Message-ID
    assert (await remind_shop(resources, settings, shop, now=NOW))["due"] == 0


@pytest.mark.parametrize("name", ["ses", "sendgrid"])
@pytest.mark.parametrize(("recovery", "copies"), [("resend", 3), ("hold", 2)])
async def test_a_kill_after_acceptance_by_a_provider_is_made_up_for_as_declared(
    settings: Settings,
    demo: Demo,
    shop: ShopRef,
    mailbox: Mailbox,
    mail_urls: dict[str, SecretStr],
    name: str,
    recovery: str,
    copies: int,
) -> None:
    chosen = settings.model_copy(update={"mail_url": mail_urls[name], "reminder_recovery": recovery})
    with gate(demo, "sent") as reached:
        await kill_when(chosen, reached)
    async with open_resources(chosen) as resources:
        counts = await remind_shop(resources, chosen, shop, now=NOW)
        assert (counts["sent"], counts["held"]) == (copies - 1, 3 - copies)
        assert (await remind_shop(resources, chosen, shop, now=NOW))["due"] == 0
    assert len(mailbox.messages) == copies
    assert {address for each in mailbox.messages for address in each.recipients} == {EMMA, HUGO}


async def test_under_hold_a_mail_accepted_before_a_kill_is_not_sent_again(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    holding = settings.model_copy(update={"reminder_recovery": "hold"})
    with gate(demo, "sent") as reached:
        await kill_when(holding, reached)
    for sent in (1, 0):
        counts = await remind_shop(resources, holding, shop, now=NOW)
        assert (counts["sent"], counts["held"]) == (sent, 1)
    assert sorted(states(demo).values()) == ["sending", "sent"]
    assert len(ids(mailbox)) == len(set(ids(mailbox))) == 2


@pytest.mark.parametrize(("recovery", "arrived"), [("resend", 2), ("hold", 1)])
async def test_a_mail_unconfirmed_at_a_kill_is_sent_again_or_held(
    resources: Resources,
    settings: Settings,
    shop: ShopRef,
    mailbox: Mailbox,
    recovery: str,
    arrived: int,
) -> None:
    chosen = settings.model_copy(update={"reminder_recovery": recovery})
    mailbox.faults.set(Fault(FaultKind.HANG, remaining=1))
    await kill_when(chosen, lambda: not mailbox.faults)  # the fault was used: the server has the content
    counts = await remind_shop(resources, chosen, shop, now=NOW)
    assert counts["sent"] == arrived == len(mailbox.messages)
    assert counts["held"] == 2 - arrived
