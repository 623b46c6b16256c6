"""Holds the settings of this process against what a production's should be; no value of a secret is told."""

from collections.abc import Iterator
from typing import Final

from pydantic import SecretStr

from wishcraft.settings import Settings

_EXPECTED: Final = {
    "public_url": "is not set: no mail can be sent without it",
    "smtp_url": "is not set: no mail is sent",
    "mail_from": "is not set: no mail is sent",
    "ops_email": "is not set: no report can be mailed",
    "sentry_dsn": "is not set: errors are in the logs alone",
    "metrics_token": "is not set: there are no metrics, and no alerts by them",
    "prefect_api_auth_string": "is not set: whoever reaches Prefect runs jobs",
    "alert_webhook_url": "is not set: alerts are in Prefect's Event Feed alone",
}


def find_misconfigurations(settings: Settings) -> list[tuple[str, str]] | None:
    """Each setting that is not as it should be, with what is wrong; None if this is no production."""
    return list(_find(settings)) if settings.environment == "production" else None


def _find(settings: Settings) -> Iterator[tuple[str, str]]:
    if not settings.shopify_origin.startswith("https://"):
        yield "SHOPIFY_ORIGIN", "is not https: tokens travel in the clear"
    for name, url in (("PUBLIC_URL", settings.public_url), ("PREFECT_UI_URL", settings.prefect_ui_url)):
        if url and not url.startswith("https://"):
            yield name, "is not https"
    for name, flaw in _EXPECTED.items():
        if not getattr(settings, name):
            yield name.upper(), flaw
    if settings.smtp_url and not _is_encrypted(settings.smtp_url):
        yield "SMTP_URL", "sends mail in the clear: add ?starttls, or use smtps://"
    if settings.shopify_api_secret_previous:
        yield "SHOPIFY_API_SECRET_PREVIOUS", "is still accepted: take it out once the rotation has spread"
    if settings.encryption_keys.get_secret_value().count(","):
        yield "ENCRYPTION_KEYS", "has a former key: take it out once every token has been renewed"
    if "*" in settings.cors_origins:
        yield "CORS_ORIGINS", "lets every site's pages call the API: name those that must"


def _is_encrypted(url: SecretStr) -> bool:
    plain = url.get_secret_value()
    return plain.startswith("smtps://") or "starttls" in plain
