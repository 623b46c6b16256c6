"""The titles of the pages that jobs publish, which their files and mails have too. Pure."""

from collections.abc import Mapping
from typing import Final

ANALYSTS: Final[Mapping[str, str]] = {
    "registry-report": "Registries",
    "conversion-report": "Conversion",
    "demand-forecast": "Demand",
    "export-data": "Export",
    "ask": "Answer",
}
"""Titles of the analysts' jobs."""
TITLES: Final[Mapping[str, str]] = {
    **ANALYSTS,
    "audit-trail": "Audit trail",
    "daily-report": "Daily report",
    "mail-domains": "Mail domains",
    "mail-suppressions": "Suppressed addresses",
    "match-purchases": "Purchases to be matched",
    "monthly-report": "Monthly report",
    "service-levels": "Service levels",
    "shop-settings": "Shop settings",
    "webhook-dead-letters": "Dead letters of webhooks",
    "weekly-report": "Weekly report",
}
"""Titles by job."""
