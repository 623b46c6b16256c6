"""The environment variables that a worker leaves to its runs."""

import os
import re
import subprocess
import sys

import pytest
from pydantic import SecretStr

from deployments.flow_run_process import is_needed, log_variables
from wishcraft.settings import Settings


@pytest.mark.parametrize(
    ("mail_url", "is_left"),
    [
        ("ses://eu-central-1?configuration_set=mail", True),
        ("ses://KEY:SECRET@eu-central-1", False),
        ("smtp://mail.example:587?starttls", False),
        (None, False),
    ],
)
def test_run_has_the_credentials_of_aws_only_if_its_mail_needs_them(
    settings: Settings, mail_url: str | None, is_left: bool
) -> None:
    config = settings.model_copy(update={"mail_url": SecretStr(mail_url) if mail_url else None})
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        assert is_needed(name, config) is is_left


def test_monthly_report_asks_the_mirror_of_osv_that_the_worker_knows(settings: Settings) -> None:
    assert is_needed("PIP_AUDIT_OSV_URL", settings)


@pytest.mark.parametrize(
    ("log_format", "line"),
    [
        ("text", r"\d\d:\d\d:\d\dZ INFO     prefect.flow_runs: started  run=cache-warm  run_id=7  task=warm a"),
        ("json", r'{"time":"[^"]+Z","level":"info",.*"run":"cache-warm","run_id":"7","task":"warm a"}'),
    ],
)
def test_run_logs_in_utc_and_in_the_format_of_its_worker(settings: Settings, log_format: str, line: str) -> None:
    code = """
from prefect.logging import get_logger
from prefect.logging.configuration import setup_logging
setup_logging()
get_logger("flow_runs").info("started", extra={
    "flow_run_name": "cache-warm", "flow_run_id": "7", "task_run_name": "warm a", "send_to_api": False
})
"""
    variables = log_variables(settings.model_copy(update={"log_format": log_format})) | {"TZ": "Asia/Tokyo"}
    ended = subprocess.run(  # noqa: S603  the text above
        [sys.executable, "-c", code], env=os.environ | variables, capture_output=True, text=True, check=True
    )
    assert re.fullmatch(line, ended.stderr.strip())
