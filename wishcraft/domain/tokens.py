"""A shop's offline access to Shopify, as a value that never shows itself in a log."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

REFRESH_MARGIN: Final = timedelta(minutes=5)
"""A token this close to its end is renewed first, so that it does not run out in the middle of a job."""


@dataclass(frozen=True, slots=True)
class OfflineToken:
    """An access token, and what renews it; tokens that do not expire have neither `refresh` nor `expires_at`."""

    access: str = field(repr=False)
    refresh: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None

    def needs_refresh(self, now: datetime) -> bool:
        """Whether it ends within `REFRESH_MARGIN` of `now` (aware UTC)."""
        return self.expires_at is not None and now >= self.expires_at - REFRESH_MARGIN
