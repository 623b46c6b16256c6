"""Expiring offline tokens as Shopify issues them, stored in a file so that they survive a restart.

https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/offline-access-tokens
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from deployments.sandbox.catalogue import DEMO_SHOPS

LIFETIME: Final = 3600
"""Lifetime of an access token in seconds."""


@dataclass(frozen=True, slots=True)
class TokenPair:
    """An access token, its refresh token and its expiry (epoch seconds)."""

    access: str
    refresh: str
    expires_at: float


class Credentials:
    """Token pairs by shop, oldest first: the pair in use and, if any, an issued pair that was not used yet."""

    def __init__(self, clock: Callable[[], float], file: Path | None = None) -> None:
        self._clock = clock
        self._file = file
        expires_at = clock() + LIFETIME
        self._pairs = {
            shop.domain: [TokenPair(shop.access_token, shop.refresh_token, expires_at)] for shop in DEMO_SHOPS
        }
        if file and file.exists():
            stored = json.loads(file.read_text(encoding="utf-8"))
            self._pairs |= {shop: [TokenPair(**pair) for pair in pairs] for shop, pairs in stored.items()}

    def is_installed(self, shop: str) -> bool:
        """Whether the shop has the app."""
        return shop in self._pairs

    def accepts(self, shop: str, access: str) -> bool:
        """Whether the access token is valid; the first use of a new token invalidates the previous pair."""
        for index, pair in enumerate(self._pairs[shop]):
            if secrets.compare_digest(pair.access.encode(), access.encode()) and self._clock() < pair.expires_at:
                self._store(shop, self._pairs[shop][index:])
                return True
        return False

    def refresh(self, shop: str, refresh: str) -> TokenPair | None:
        """Issue a new pair for a refresh token, which stays valid until the new pair is used; None if it is invalid."""
        for pair in self._pairs[shop]:
            if secrets.compare_digest(pair.refresh.encode(), refresh.encode()):
                new = TokenPair(
                    f"shpat_{secrets.token_hex(16)}", f"shprt_{secrets.token_hex(16)}", self._clock() + LIFETIME
                )
                self._store(shop, [pair, new])
                return new
        return None

    def _store(self, shop: str, pairs: list[TokenPair]) -> None:
        if pairs == self._pairs[shop]:
            return
        self._pairs[shop] = pairs
        if self._file:
            stored = {domain: [asdict(pair) for pair in pairs] for domain, pairs in self._pairs.items()}
            draft = self._file.with_suffix(".tmp")
            draft.touch(mode=0o600)
            draft.write_text(json.dumps(stored), encoding="utf-8")
            draft.replace(self._file)
