"""The process of the consumer: it handles webhooks, touches its heartbeat, and ends on SIGTERM and SIGINT."""

import signal
import subprocess
import sys
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


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_consumer_handles_webhooks_touches_its_heartbeat_and_ends_on_a_signal(
    settings: Settings, demo: Demo, tmp_path: Path, ending: signal.Signals
) -> None:
    demo.execute("TRUNCATE webhook_events")
    heartbeat = tmp_path / "heartbeat"
    with subprocess.Popen([*COMMAND, "--heartbeat", str(heartbeat)], cwd=ROOT, env=environment(settings)) as process:  # noqa: S603  ours
        try:
            block_until(heartbeat.exists)
            demo.execute(
                "INSERT INTO webhook_events (shop_domain, webhook_id, topic, payload) VALUES (%s, '1', %s, %s)",
                ["maple-and-pine.myshopify.com", "orders/create", orjson.dumps(order([]))],
            )
            query = "SELECT count(*) FROM webhook_events WHERE outcome = 'applied'"
            block_until(lambda: demo.execute(query).fetchone() == (1,))
            heartbeat.unlink()
            block_until(heartbeat.exists)
            process.send_signal(ending)
            assert process.wait(PATIENCE_SECONDS) == 0
        finally:
            process.kill()


def test_consumer_with_a_wrong_setting_says_so_and_ends(settings: Settings) -> None:
    wrong = environment(settings) | {"DATABASE_URL": "nothing"}
    ended = subprocess.run(COMMAND, cwd=ROOT, env=wrong, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603  ours
    assert ended.returncode == 1
    assert ended.stderr.startswith("The consumer of webhooks cannot start. ")
    assert "DATABASE_URL" in ended.stderr
