"""Configuration of Prometheus and Alertmanager, made from the files beside this one.

The local stack and the example installation use it; the output is JSON, which is YAML, too.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import yaml
from pydantic import SecretStr

from deployments.sandbox.secret_files import open_private
from wishcraft.errors import ConfigurationError
from wishcraft.urls.mail import SmtpServer, read_mail_url

SOURCES: Final = Path(__file__).parent
DASHBOARD: Final = SOURCES / "dashboard.json"
_SMTPS_PORT: Final = 465
_SMTP_PORT: Final = 25


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where Alertmanager sends its mail: `url` as in MAIL_URL, the sender, and the recipient."""

    url: str
    sender: str
    recipient: str

    def options(self) -> dict[str, Any]:
        """The `global` section of Alertmanager's configuration.

        Alertmanager does not negotiate: it uses TLS from the start on port 465 only, otherwise STARTTLS or no TLS.

        Raises:
            ConfigurationError: The URL is wrong or not one of SMTP, or TLS from the start is not on port 465.
        """
        server = read_mail_url(SecretStr(self.url))
        if not isinstance(server, SmtpServer):
            raise ConfigurationError(
                "Alertmanager sends mail by SMTP, which Amazon SES and SendGrid have too: here MAIL_URL must look like "
                "smtp://user:password@host:587?starttls, or smtps://…"
            )
        port = server.port or (_SMTPS_PORT if server.is_tls else _SMTP_PORT)
        if server.is_tls != (port == _SMTPS_PORT):
            raise ConfigurationError("Alertmanager sends mail with smtps:// on port 465 only; use smtp://…?starttls")
        login = (
            {"smtp_auth_username": server.user, "smtp_auth_password": server.password.get_secret_value()}
            if server.user and server.password
            else {}
        )
        return {
            "smtp_smarthost": f"{server.host}:{port}",
            "smtp_from": self.sender,
            "smtp_require_tls": server.requires_starttls or bool(login),  # no password without TLS
        } | login


@dataclass(frozen=True, slots=True)
class Scrape:
    """Addresses of the API and of Alertmanager, `host:port` each, and the file with METRICS_TOKEN, if any.

    `interval` is the time between two scrapes, and two evaluations of the rules.
    """

    api: Sequence[str]
    alertmanager: str
    token_file: Path | None
    interval: str = "15s"


def write_configuration(
    folder: Path, scrape: Scrape, mail: MailServer, runbook_url: str, *, has_prefect_alerts: bool = False
) -> None:
    """Write `prometheus.yaml`, `alerts.yaml` and `alertmanager.yaml`, readable only by their owner.

    `has_prefect_alerts` as in `alertmanager_configuration`.

    Raises:
        ConfigurationError: As `MailServer.options`.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    configurations = {
        "prometheus.yaml": prometheus_configuration(scrape),
        "alertmanager.yaml": alertmanager_configuration(mail, runbook_url, has_prefect_alerts=has_prefect_alerts),
    }
    for name, content in configurations.items():
        (folder / name).unlink(missing_ok=True)
        with open(folder / name, "x", opener=open_private) as file:
            json.dump(content, file, indent=2)
    shutil.copyfile(SOURCES / "alerts.yaml", folder / "alerts.yaml")


def prometheus_configuration(scrape: Scrape) -> dict[str, Any]:
    """The configuration of Prometheus, with these addresses."""
    found = _read("prometheus.yaml")
    found["global"] = dict.fromkeys(("scrape_interval", "evaluation_interval"), scrape.interval)
    [alertmanagers], [job] = found["alerting"]["alertmanagers"], found["scrape_configs"]
    alertmanagers["static_configs"] = [{"targets": [scrape.alertmanager]}]
    job["static_configs"] = [{"targets": list(scrape.api)}]
    if scrape.token_file:
        job["authorization"]["credentials_file"] = str(scrape.token_file)
    else:
        del job["authorization"]
    return found


def alertmanager_configuration(mail: MailServer, runbook_url: str, *, has_prefect_alerts: bool) -> dict[str, Any]:
    """The configuration of Alertmanager, whose mails link to the runbooks at `runbook_url`.

    With `has_prefect_alerts` it sends no mail about failed and crashed jobs: Prefect's alert comes first, with more.

    Raises:
        ConfigurationError: As `MailServer.options`.
    """
    found = _read("alertmanager.yaml")
    # Nothing that ends the template's string or refers to a group of its expression.
    url = quote(runbook_url.rstrip("/"), safe=":/?&=#@%+~,;")
    for receiver in found["receivers"]:
        for email in receiver.get("email_configs", ()):
            email |= {"to": mail.recipient, "text": email["text"].replace("RUNBOOK_URL", url)}
    if has_prefect_alerts:
        [of_jobs] = [each for each in found["route"]["routes"] if each["receiver"] == "ops-once"]
        of_jobs["receiver"] = "none"
    return {"global": mail.options()} | found


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((SOURCES / name).read_text())
    return found
