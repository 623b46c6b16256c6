"""Processes that send mails and are killed at a chosen moment."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from deployments.sandbox.mailbox.messages import Mailbox
from tests.support.aliases import Demo
from tests.support.job_processes import command, environment
from tests.support.waiting import wait_until
from wishcraft.settings import Settings

GATE = 4_711


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
    """Let a process of its own send the shop's mail, and kill it with -9 at the moment, in which it must stay."""
    process = await asyncio.create_subprocess_exec(*command("mail_demo_shop", *arguments), env=environment(settings))
    await wait_until(lambda: moment() or process.returncode is not None, "the moment never came")
    assert process.returncode is None, "the run ended"
    process.kill()
    await process.wait()


def message_ids(mailbox: Mailbox) -> list[str]:
    return [str(received.parsed["Message-ID"]) for received in mailbox.messages]
