"""A shop's offline token for Shopify; its repr shows no secret."""

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeGuard

REFRESH_MARGIN: Final = timedelta(minutes=5)
"""A token this close to its expiry is refreshed before use, so that it does not expire during a job."""

_VISIBLE_ASCII: Final = re.compile(r"[!-~]+")


def is_token(value: object) -> TypeGuard[str]:
    """Whether the value can be a token, which is sent in a header: a text of visible ASCII characters."""
    return isinstance(value, str) and _VISIBLE_ASCII.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class OfflineToken:
    """An access token and its refresh token; a token that does not expire has no `refresh` and no `expires_at`."""

    access: str = field(repr=False)
    refresh: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None

    def needs_refresh(self, now: datetime) -> bool:
        """Whether it expires within `REFRESH_MARGIN` of `now` (aware UTC)."""
        return self.expires_at is not None and now >= self.expires_at - REFRESH_MARGIN
