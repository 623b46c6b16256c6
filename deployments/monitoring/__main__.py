"""`python -m deployments.monitoring FOLDER`: write the configuration of Prometheus and Alertmanager.

Reads MAIL_URL, MAIL_FROM, OPS_EMAIL, RUNBOOK_URL and ALERT_WEBHOOK_URL from the environment or /run/secrets.
Alertmanager sends mail to OPS_EMAIL, about failed jobs only if ALERT_WEBHOOK_URL is not set, which Prefect's alerts go
to; Prometheus reads METRICS_TOKEN from its file.
"""

import wishcraft.interrupts  # noqa: F401  it must be the first import

# isort: split
import argparse
import sys
from pathlib import Path

from deployments.monitoring.configuration import MailServer, Scrape, write_configuration
from wishcraft.errors import ConfigurationError
from wishcraft.setting_types import MailAddress, MailUrl, RunbookUrl, SecretHttpUrl
from wishcraft.settings import SECRETS, EnvironmentSettings, Settings, load


class MonitoringSettings(EnvironmentSettings):
    """The settings that the configuration needs; their meaning and defaults are those of `Settings`."""

    mail_url: MailUrl | None = None
    mail_from: MailAddress | None = None
    ops_email: MailAddress | None = None
    alert_webhook_url: SecretHttpUrl | None = None
    runbook_url: RunbookUrl = Settings.model_fields["runbook_url"].default

    def mail_server(self) -> MailServer:
        """Where Alertmanager sends its mail.

        Raises:
            ConfigurationError: A setting is missing.
        """
        if not (self.mail_url and self.mail_from and self.ops_email):
            raise ConfigurationError("Alertmanager sends mail: set MAIL_URL, MAIL_FROM and OPS_EMAIL")
        return MailServer(self.mail_url.get_secret_value(), self.mail_from, self.ops_email)


def main() -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deployments.monitoring", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--api", action="append", metavar="HOST:PORT", help="an API process; one for each [api:8000]")
    parser.add_argument("--alertmanager", default="alertmanager:9093", metavar="HOST:PORT", help="[%(default)s]")
    arguments = parser.parse_args()
    scrape = Scrape(arguments.api or ["api:8000"], arguments.alertmanager, SECRETS / "metrics_token")
    try:
        settings = load(MonitoringSettings)
        write_configuration(
            arguments.folder,
            scrape,
            settings.mail_server(),
            settings.runbook_url,
            has_prefect_alerts=settings.alert_webhook_url is not None,
        )
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
