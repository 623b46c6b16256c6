"""The sections on vulnerable dependencies, expiring API keys and tokens, and production settings. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from wishcraft.domain import times
from wishcraft.reports.page import Section, pluralize, redacted_line, short_name
from wishcraft.services.operations.vulnerabilities import AuditResult
from wishcraft.store.api_keys import KeyAge
from wishcraft.store.shops import TokenAge

SOON: Final = timedelta(days=32)
"""At least the time to the next report, 31 days and the hour of a clock change: what expires until then is in this."""
_UNUSED: Final = timedelta(days=30)
"""Keys that are younger may be in use soon."""
_NOT_RENEWED: Final = timedelta(days=1)
"""An offline token lives for an hour and is renewed on use; jobs use it every 15 minutes."""


def dependencies(audit: AuditResult) -> Section:
    """Known vulnerabilities of the locked packages; an audit without a result is a finding too."""
    title = "Dependencies"
    if audit.unreachable:
        text = (
            "**They could not be checked**: the vulnerability service (osv.dev) gave no usable answer "
            f"({redacted_line(audit.unreachable)}). Run `make audit` where it can be reached."
        )
        return Section(title, text, finding="the dependencies, which could not be checked")
    if not audit.vulnerabilities:
        return Section(title, f"No known vulnerability in {audit.packages:,} packages.")
    rows = [
        (each.package, each.version, each.id, " or ".join(each.fixed_in) or "no fix yet")
        for each in audit.vulnerabilities
    ]
    text = "Upgrade them in `requirements.lock` as described in CONTRIBUTING, run the tests, and deploy."
    header = ("package", "version", "vulnerability", "fixed in")
    return Section(title, text, header, rows, pluralize(len(rows), "known vulnerability"))


def keys(ages: Sequence[KeyAge], now: datetime, zone: tzinfo = UTC) -> Section:
    """API keys that expire soon or were never used."""
    rows = [(short_name(each.shop), each.prefix, reason) for each in ages if (reason := _key_reason(each, now, zone))]
    if not rows:
        return Section("API keys", "Nothing to do: none expires before the next report, and all are used.")
    text = "Inform the merchant of an expiring key: a rotation creates a new one. Revoke unused keys."
    return Section("API keys", text, ("shop", "key", "why"), rows, pluralize(len(rows), "API key"))


def tokens(ages: Sequence[TokenAge], now: datetime, zone: tzinfo = UTC) -> Section:
    """Shops whose access token is missing, expires soon, or was not renewed."""
    rows = [(short_name(each.shop), *reason) for each in ages if (reason := _token_reason(each, now, zone))]
    if not rows:
        return Section("Shops' tokens", "Nothing to do: every shop has a token, and all are renewed.")
    return Section("Shops' tokens", "", ("shop", "why", "what to do"), rows, pluralize(len(rows), "shop token"))


def settings(misconfigurations: Sequence[tuple[str, str]] | None) -> Section:
    """Settings that are unsafe in production, each with what to do; None outside production."""
    if misconfigurations is None:
        return Section("Settings", "Not checked: `ENVIRONMENT` is not production.")
    if not misconfigurations:
        return Section("Settings", "Nothing to do.")
    text = "These are the worker's; the API must have the same. Correct them, and restart both."
    header = ("setting", "what is wrong")
    return Section("Settings", text, header, misconfigurations, pluralize(len(misconfigurations), "setting"))


def _key_reason(key: KeyAge, now: datetime, zone: tzinfo) -> str:
    if key.expires_at and now < key.expires_at <= now + SOON:
        return f"expires at {times.minute(key.expires_at, zone)}"
    if key.last_used_at is None and key.created_at < now - _UNUSED:
        return f"never used since {times.day(key.created_at, zone)}"
    return ""


def _token_reason(token: TokenAge, now: datetime, zone: tzinfo) -> tuple[str, str] | None:
    if not token.has_token:
        return "has none", "Ask the merchant to open the app, or to install it again."
    if token.expires_at is None:
        return None
    if not token.can_renew and token.expires_at < now + SOON:
        expires = f"expires at {times.minute(token.expires_at, zone)} and cannot be renewed"
        return expires, "Ask the merchant to open the app."
    if token.expires_at < now - _NOT_RENEWED:
        expired = f"expired at {times.minute(token.expires_at, zone)} and was not renewed"
        return expired, "Look at this shop in the runs of `sync-inventory`."
    return None
