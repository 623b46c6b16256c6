"""The process of the consumer: it handles webhooks, touches its heartbeat, and ends on SIGTERM and SIGINT."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from deployments.sandbox.processes import ROOT
from tests.support.aliases import Demo
from tests.support.job_processes import environment
from tests.support.valkey import OwnValkey
from tests.support.waiting import PATIENCE_SECONDS, block_until
from tests.support.webhooks import find_items, line, order
from wishcraft.settings import Settings

COMMAND = [sys.executable, "-m", "deployments.webhooks"]


@pytest.fixture
def heartbeat(tmp_path: Path) -> Path:
    """The file that the consumer touches."""
    return tmp_path / "heartbeat"


@pytest.fixture
def consumer(
    settings: Settings, demo: Demo, heartbeat: Path, own_valkey: OwnValkey, tmp_path: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    """A consumer that has begun, with a Redis of its own; its log is `log`."""
    demo.execute("TRUNCATE webhook_events")
    environ = environment(settings.model_copy(update={"redis_url": own_valkey.url}))
    argv = [*COMMAND, "--heartbeat", str(heartbeat)]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(argv, cwd=ROOT, env=environ, stderr=log, stdout=log) as process,  # noqa: S603  ours
    ):
        try:
            block_until(heartbeat.exists)
            yield process
        finally:
            process.kill()


def receive(demo: Demo, payload: object) -> None:
    """Put an order into the inbox, and wait until it is applied."""
    demo.execute(
        """INSERT INTO webhook_events (shop_domain, webhook_id, topic, payload)
           VALUES (%s, gen_random_uuid()::text, %s, %s)""",
        ["maple-and-pine.myshopify.com", "orders/create", orjson.dumps(payload)],
    )
    waiting = "SELECT count(*) FROM webhook_events WHERE outcome IS DISTINCT FROM 'applied'"
    block_until(lambda: demo.execute(waiting).fetchone() == (0,))


@pytest.mark.usefixtures("consumer")
def test_consumer_whose_redis_hangs_handles_orders_and_stops_to_wait_for_it(
    demo: Demo, own_valkey: OwnValkey, tmp_path: Path
) -> None:
    first, second, *_ = find_items(demo)
    receive(demo, order([line(1, first.variant_id, claim=first.claim)], number=1))
    own_valkey.pause()
    receive(demo, order([line(2, second.variant_id, claim=second.claim)], number=2))
    assert demo.execute("SELECT item_id FROM purchases ORDER BY line_item_id").fetchall() == [(first.id,), (second.id,)]
    assert "Redis does not answer" in (tmp_path / "log").read_text()


def test_consumer_handles_webhooks_touches_its_heartbeat_and_ends_on_sigterm(
    consumer: "subprocess.Popen[bytes]", demo: Demo, heartbeat: Path
) -> None:
    receive(demo, order([]))
    heartbeat.unlink()
    block_until(heartbeat.exists)
    consumer.send_signal(signal.SIGTERM)
    assert consumer.wait(PATIENCE_SECONDS) == 0


def test_interrupted_consumer_ends(consumer: "subprocess.Popen[bytes]") -> None:
    consumer.send_signal(signal.SIGINT)
    assert consumer.wait(PATIENCE_SECONDS) == 0
