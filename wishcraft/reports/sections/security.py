"""What runs out or falls behind unless somebody sees to it: dependencies, keys, tokens, settings. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from wishcraft.reports.page import Section, counted, quoted
from wishcraft.store.api_keys import KeyAge
from wishcraft.store.shops import TokenAge

SOON: Final = timedelta(days=30)
"""A report comes once a month, so what ends before the next one is told of in this."""
_LAPSED: Final = timedelta(days=1)
"""An offline token lives for an hour and is renewed when it is used, which the jobs do every quarter of one."""


class Flaw(NamedTuple):
    """A vulnerability of something that is installed; `fixed_in` is empty if no release is without it."""

    package: str
    version: str
    id: str
    fixed_in: Sequence[str]


def dependencies(packages: int, flaws: Sequence[Flaw], unknown: str | None) -> Section:
    """What is known against the packages; `unknown` says why nothing is, and then it is not called clean."""
    title = "Dependencies"
    if unknown:
        text = (
            "**They could not be checked**: the vulnerability service (osv.dev) gave no usable answer "
            f"({quoted(unknown)}). Run `make audit` where it can be reached."
        )
        return Section(title, text, finding="the dependencies, which could not be checked")
    if not flaws:
        return Section(title, f"No known vulnerability in {packages:,} packages.")
    rows = [(each.package, each.version, each.id, " or ".join(each.fixed_in) or "no fix yet") for each in flaws]
    text = "Raise them in `requirements.lock`, as CONTRIBUTING says, run the tests, and deploy."
    header = ("package", "version", "vulnerability", "fixed in")
    return Section(title, text, header, rows, counted(len(flaws), "known vulnerability"))


def keys(found: Sequence[KeyAge], now: datetime) -> Section:
    """Keys that end soon, and those that nobody has ever used."""
    rows = [(each.shop, each.prefix, reason) for each in found if (reason := _key_reason(each, now))]
    if not rows:
        return Section("API keys", "Nothing to do: none ends within 30 days, and all are used.")
    text = "Tell the merchant of one that ends: a rotation gives them a new one. Revoke what nobody uses."
    return Section("API keys", text, ("shop", "key", "why"), rows, counted(len(rows), "API key"))


def tokens(found: Sequence[TokenAge], now: datetime) -> Section:
    """Shops whose token will not serve for long, or does not any more."""
    rows = [(each.shop, *reason) for each in found if (reason := _token_reason(each, now))]
    if not rows:
        return Section("Shops' tokens", "Nothing to do: all are there, and are renewed.")
    return Section("Shops' tokens", "", ("shop", "why", "what to do"), rows, counted(len(rows), "shop token"))


def settings(flaws: Sequence[tuple[str, str]] | None) -> Section:
    """Settings that are not as a production's should be, each with what to do; None is for what is no production."""
    if flaws is None:
        return Section("Settings", "This is no production (`ENVIRONMENT`): they are not looked at.")
    if not flaws:
        return Section("Settings", "All as they should be.")
    text = "These are the worker's; the API's are to be the same. Mend them, and start both again."
    return Section("Settings", text, ("setting", "what is wrong"), flaws, counted(len(flaws), "setting"))


def _key_reason(key: KeyAge, now: datetime) -> str:
    if key.expires_at and now < key.expires_at <= now + SOON:
        return f"ends on {key.expires_at:%Y-%m-%d}"
    if key.last_used_at is None and key.created_at < now - SOON:
        return f"never used since {key.created_at:%Y-%m-%d}"
    return ""


def _token_reason(token: TokenAge, now: datetime) -> tuple[str, str] | None:
    if not token.has_token:
        return "has none", "Ask the merchant to install the app anew."
    if token.expires_at is None:
        return None
    if not token.can_renew and token.expires_at < now + SOON:
        return f"ends on {token.expires_at:%Y-%m-%d} and cannot be renewed", "Ask the merchant to install the app anew."
    if token.expires_at < now - _LAPSED:
        ended = f"ended on {token.expires_at:%Y-%m-%d} and was not renewed"
        return ended, "Look at this shop in the runs of `sync-inventory`."
    return None
