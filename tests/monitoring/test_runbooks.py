"""The runbooks' own means of looking do not hang together with what they look at."""

import re
import socket
import subprocess

from tests.support.alert_rules import ROOT

SQL = re.compile(r"^sql\(\) \{.*?\}$", re.MULTILINE | re.DOTALL)


def test_the_runbook_query_times_out_if_postgresql_hangs() -> None:
    ways = {way for page in (ROOT / "docs/runbooks").glob("*.md") for way in SQL.findall(page.read_text())}
    assert ways
    with socket.create_server(("127.0.0.1", 0)) as silent:
        board = f"board() {{ echo postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/none; }}"
        asked = [
            subprocess.Popen(  # noqa: S603  our own pages
                ["/bin/bash", "-c", f'{board}\n{way}\nsql "SELECT 1"'], cwd=ROOT, stderr=subprocess.PIPE, text=True
            )
            for way in ways
        ]
        assert all("timeout expired" in each.communicate(timeout=60)[1] for each in asked)
