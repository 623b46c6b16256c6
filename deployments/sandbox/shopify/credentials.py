"""Expiring offline tokens as Shopify issues them, kept in a file so that a restart still knows what an app holds.

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
"""Seconds that an access token lives."""


@dataclass(frozen=True, slots=True)
class TokenPair:
    """An access token, when it ends (epoch seconds), and the refresh token that came with it."""

    access: str
    refresh: str
    expires_at: float


class Credentials:
    """Each shop's pairs, oldest first: the one in use, and one handed out but not used yet, if any."""

    def __init__(self, clock: Callable[[], float], file: Path | None = None) -> None:
        self._clock = clock
        self._file = file
        end = clock() + LIFETIME
        self._pairs = {shop.domain: [TokenPair(shop.access_token, shop.refresh_token, end)] for shop in DEMO_SHOPS}
        if file and file.exists():
            kept = json.loads(file.read_text(encoding="utf-8"))
            self._pairs |= {shop: [TokenPair(**pair) for pair in pairs] for shop, pairs in kept.items()}

    def accepts(self, shop: str, access: str) -> bool:
        """Whether the access token is good now; the first use of a new one ends the pair before it."""
        for index, pair in enumerate(self._pairs[shop]):
            if secrets.compare_digest(pair.access.encode(), access.encode()) and self._clock() < pair.expires_at:
                self._keep(shop, self._pairs[shop][index:])
                return True
        return False

    def refresh(self, shop: str, refresh: str) -> TokenPair | None:
        """A new pair for a refresh token, which stays good until the new pair is used; None if it is not good."""
        for pair in self._pairs[shop]:
            if secrets.compare_digest(pair.refresh.encode(), refresh.encode()):
                new = TokenPair(
                    f"shpat_{secrets.token_hex(16)}", f"shprt_{secrets.token_hex(16)}", self._clock() + LIFETIME
                )
                self._keep(shop, [pair, new])
                return new
        return None

    def _keep(self, shop: str, pairs: list[TokenPair]) -> None:
        if pairs == self._pairs[shop]:
            return
        self._pairs[shop] = pairs
        if self._file:
            kept = {domain: [asdict(pair) for pair in held] for domain, held in self._pairs.items()}
            draft = self._file.with_suffix(".tmp")
            draft.touch(mode=0o600)
            draft.write_text(json.dumps(kept), encoding="utf-8")
            draft.replace(self._file)
