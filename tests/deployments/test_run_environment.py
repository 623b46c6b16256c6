"""The environment variables that a worker leaves to its runs."""

import pytest
from pydantic import SecretStr

from deployments.flow_run_process import is_needed
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
