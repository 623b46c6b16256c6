"""The shell functions of the runbooks time out when PostgreSQL does not answer."""

import re
import socket
import subprocess

from tests.support.alert_rules import ROOT

SQL = re.compile(r"^sql\(\) \{.*?\}$", re.MULTILINE | re.DOTALL)


def test_the_runbook_query_times_out_if_postgresql_hangs() -> None:
    functions = {
        function for page in (ROOT / "docs/runbooks").glob("*.md") for function in SQL.findall(page.read_text())
    }
    assert functions
    with socket.create_server(("127.0.0.1", 0)) as silent:
        stack = f"stack() {{ echo postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/none; }}"
        processes = [
            subprocess.Popen(  # noqa: S603  our own pages
                ["/bin/bash", "-c", f'{stack}\n{function}\nsql "SELECT 1"'], cwd=ROOT, stderr=subprocess.PIPE, text=True
            )
            for function in functions
        ]
        assert all("timeout expired" in process.communicate(timeout=60)[1] for process in processes)
