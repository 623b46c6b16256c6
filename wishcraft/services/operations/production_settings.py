"""Finds settings that are wrong or risky in production. Must not return the value of a secret.

METRICS_TOKEN is left out: a run, which calls this, does not get it. Without it, ApiDown fires.
"""

from collections.abc import Iterator
from typing import Final

from wishcraft.domain.networks import parse_proxies
from wishcraft.settings import Settings
from wishcraft.urls.mail import is_encrypted

_REQUIRED: Final = {
    "public_url": "is not set: mail cannot be sent without it",
    "mail_url": "is not set: no mail is sent",
    "mail_from": "is not set: no mail is sent",
    "ops_email": "is not set: reports cannot be mailed",
    "sentry_dsn": "is not set: errors are only logged",
    "prefect_api_auth_string": "is not set: anyone who can reach Prefect can run jobs",
    "trusted_proxies": "is not set: behind a proxy, all guests share the limits of one",
    "alert_webhook_url": "is not set: job alerts appear only in Prefect's Event Feed",
}
_LOOPBACK: Final = ("http://127.0.0.1:", "http://localhost:")
"""Beginnings of the URL of a server that is reached by a tunnel."""


def find_misconfigurations(settings: Settings) -> list[tuple[str, str]] | None:
    """Return each wrong setting with its problem and remedy; None unless ENVIRONMENT is `production`."""
    return list(_find(settings)) if settings.environment == "production" else None


def _find(settings: Settings) -> Iterator[tuple[str, str]]:
    if not settings.shopify_origin.startswith("https://"):
        yield "SHOPIFY_ORIGIN", "is not https: access tokens are sent unencrypted"
    if settings.public_url and not settings.public_url.startswith("https://"):
        yield "PUBLIC_URL", "is not https"
    if settings.prefect_ui_url and not settings.prefect_ui_url.startswith(("https://", *_LOOPBACK)):
        yield "PREFECT_UI_URL", "is not https"
    for name, problem in _REQUIRED.items():
        if not getattr(settings, name):
            yield name.upper(), problem
    if settings.mail_url and not is_encrypted(settings.mail_url):
        yield "MAIL_URL", "sends mail unencrypted: use smtp://…?starttls or smtps://, and no ?endpoint without https"
    if settings.sns_origin:
        yield "SNS_ORIGIN", "is set: events of mails are verified with the keys of a simulation"
    if settings.shopify_api_secret_previous:
        yield "SHOPIFY_API_SECRET_PREVIOUS", "is still accepted: remove it once all processes use the new secret"
    if settings.encryption_keys.get_secret_value().count(","):
        yield "ENCRYPTION_KEYS", "contains an old key: remove it once every token is re-encrypted"
    yield from _find_too_open(settings)


def _find_too_open(settings: Settings) -> Iterator[tuple[str, str]]:
    if not all(network.prefixlen for network in parse_proxies(settings.trusted_proxies).networks):
        yield "TRUSTED_PROXIES", "contains all addresses: any client can send a false address. List your proxies"
    if "*" in settings.cors_origins:
        yield "CORS_ORIGINS", "allows every origin to call the API: list the ones that need it"
