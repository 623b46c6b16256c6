"""Simulated Amazon SES (API v2) and SendGrid (API v3): routes under `/ses` and `/sendgrid` of the mailbox's server.

They check requests as the real ones do, put accepted mails into the mailbox, and send signed events of what became of
them to an address.
"""

from typing import Final
from urllib.parse import quote

REGION: Final = "eu-central-1"
ACCOUNT: Final = "000000000000"
TOPIC_ARN: Final = f"arn:aws:sns:{REGION}:{ACCOUNT}:wishcraft-mail"
"""The topic of SES's events."""
SENDGRID_PUBLIC_KEY: Final = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEOUUz3awcTEFAOj8+mmfthfAd+KzNjrWigZqZFLL3eQNmAY1YJ0JjHCmaj9DyV15SqS61vIXeH9+drbqn"
    "fATGWA=="
)
"""Verifies SendGrid's events; the same in each start, so that the API can know it before."""
CONFIGURATION_SET: Final = "wishcraft"
"""The one of SES that publishes events."""
ACCESS_KEY: Final = "AKIASANDBOXSANDBOX00"
SECRET_KEY: Final = "sandbox/secret+of/the+simulated/ses+sandbox"  # noqa: S105  the simulator's own
API_KEY: Final = "SG.sandbox.key-of-the-simulated-sendgrid"


def mail_urls(mailbox_url: str) -> dict[str, str]:
    """MAIL_URL of each simulated provider beside this mailbox."""
    account = f"{ACCESS_KEY}:{quote(SECRET_KEY, safe='')}@{REGION}?configuration_set={CONFIGURATION_SET}"
    return {
        "ses": f"ses://{account}&endpoint={mailbox_url}/ses",
        "sendgrid": f"sendgrid://{API_KEY}@?endpoint={mailbox_url}/sendgrid",
    }
