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
from tests.support.waiting import PATIENCE_SECONDS, block_until
from tests.support.webhooks import order
from wishcraft.settings import Settings

COMMAND = [sys.executable, "-m", "deployments.webhooks"]


@pytest.fixture
def heartbeat(tmp_path: Path) -> Path:
    """The file that the consumer touches."""
    return tmp_path / "heartbeat"


@pytest.fixture
def consumer(settings: Settings, demo: Demo, heartbeat: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A consumer that has begun."""
    demo.execute("TRUNCATE webhook_events")
    with subprocess.Popen([*COMMAND, "--heartbeat", str(heartbeat)], cwd=ROOT, env=environment(settings)) as process:  # noqa: S603  ours
        try:
            block_until(heartbeat.exists)
            yield process
        finally:
            process.kill()


def test_consumer_handles_webhooks_touches_its_heartbeat_and_ends_on_sigterm(
    consumer: "subprocess.Popen[bytes]", demo: Demo, heartbeat: Path
) -> None:
    demo.execute(
        "INSERT INTO webhook_events (shop_domain, webhook_id, topic, payload) VALUES (%s, '1', %s, %s)",
        ["maple-and-pine.myshopify.com", "orders/create", orjson.dumps(order([]))],
    )
    query = "SELECT count(*) FROM webhook_events WHERE outcome = 'applied'"
    block_until(lambda: demo.execute(query).fetchone() == (1,))
    heartbeat.unlink()
    block_until(heartbeat.exists)
    consumer.send_signal(signal.SIGTERM)
    assert consumer.wait(PATIENCE_SECONDS) == 0


def test_interrupted_consumer_ends(consumer: "subprocess.Popen[bytes]") -> None:
    consumer.send_signal(signal.SIGINT)
    assert consumer.wait(PATIENCE_SECONDS) == 0


def test_consumer_with_a_wrong_setting_says_so_and_ends(settings: Settings) -> None:
    wrong = environment(settings) | {"DATABASE_URL": "nothing"}
    ended = subprocess.run(COMMAND, cwd=ROOT, env=wrong, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603  ours
    assert ended.returncode == 1
    assert ended.stderr.startswith("The consumer of webhooks cannot start. ")
    assert "DATABASE_URL" in ended.stderr
