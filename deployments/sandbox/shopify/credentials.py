"""Expiring offline tokens as Shopify issues them, stored in a file so that they survive a restart.

https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/offline-access-tokens
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import jwt

from deployments.sandbox.catalogue import DEMO_SHOPS

LIFETIME: Final = 3600
"""Lifetime of an access token in seconds."""
ID_TOKEN_LIFETIME: Final = 60


@dataclass(frozen=True, slots=True)
class TokenPair:
    """An access token, its refresh token and its expiry (epoch seconds)."""

    access: str
    refresh: str
    expires_at: float


class Credentials:
    """Token pairs by shop that has the app, oldest first: the pair in use and, if any, an issued one, not used yet."""

    def __init__(self, clock: Callable[[], float], file: Path | None = None) -> None:
        self._clock = clock
        self._file = file
        expires_at = clock() + LIFETIME
        self._pairs = {
            shop.domain: [TokenPair(shop.access_token, shop.refresh_token, expires_at)] for shop in DEMO_SHOPS
        }
        if file and file.exists():
            stored = json.loads(file.read_text(encoding="utf-8"))
            self._pairs = {shop: [TokenPair(**pair) for pair in pairs] for shop, pairs in stored.items()}

    def is_installed(self, shop: str) -> bool:
        """Whether the shop has the app."""
        return shop in self._pairs

    def install(self, shop: str) -> None:
        """The merchant installs the app, which has no token yet."""
        self._pairs.setdefault(shop, [])
        self._save()

    def uninstall(self, shop: str) -> None:
        """The merchant uninstalls the app: all its tokens of the shop end at once."""
        self._pairs.pop(shop, None)
        self._save()

    def id_token(self, shop: str, client_id: str, secret: str) -> str:
        """The id token that App Bridge gives to the app's page in the shop's admin."""
        now = int(self._clock())
        claims = {
            "iss": f"https://{shop}/admin", "dest": f"https://{shop}", "aud": client_id, "sub": "42",
            "iat": now, "nbf": now, "exp": now + ID_TOKEN_LIFETIME, "jti": secrets.token_hex(8), "sid": "1",
        }  # fmt: skip
        return jwt.encode(claims, secret, "HS256")

    def is_id_token(self, shop: str, token: str, client_id: str, secret: str) -> bool:
        """Whether the ID token is this shop's, for this app, and has not expired."""
        try:
            claims = jwt.decode(
                token,
                secret,
                algorithms=["HS256"],
                audience=client_id,
                options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},  # by the simulator's clock
            )
        except jwt.InvalidTokenError:
            return False
        return claims.get("dest") == f"https://{shop}" and claims.get("exp", 0) > self._clock()

    def accepts(self, shop: str, access: str) -> bool:
        """Whether the access token is valid; the first use of a new token invalidates the previous pair."""
        for index, pair in enumerate(self._pairs.get(shop, ())):
            if secrets.compare_digest(pair.access.encode(), access.encode()) and self._clock() < pair.expires_at:
                self._store(shop, self._pairs[shop][index:])
                return True
        return False

    def refresh(self, shop: str, refresh: str) -> TokenPair | None:
        """Issue a new pair for a refresh token, which stays valid until the new pair is used; None if it is invalid."""
        for pair in self._pairs.get(shop, ()):
            if pair.refresh and secrets.compare_digest(pair.refresh.encode(), refresh.encode()):
                return self.issue(shop, [pair])
        return None

    def issue(self, shop: str, kept: list[TokenPair] | None = None, *, is_expiring: bool = True) -> TokenPair:
        """Issue a new pair beside those that are `kept`, by default the one in use; or a token that does not expire."""
        refresh = f"shprt_{secrets.token_hex(16)}" if is_expiring else ""
        expires_at = self._clock() + LIFETIME if is_expiring else float("inf")
        new = TokenPair(f"shpat_{secrets.token_hex(16)}", refresh, expires_at)
        self._store(shop, [*(self._pairs[shop][:1] if kept is None else kept), new])
        return new

    def _store(self, shop: str, pairs: list[TokenPair]) -> None:
        if pairs != self._pairs[shop]:
            self._pairs[shop] = pairs
            self._save()

    def _save(self) -> None:
        if self._file:
            stored = {domain: [asdict(pair) for pair in pairs] for domain, pairs in self._pairs.items()}
            draft = self._file.with_suffix(".tmp")
            draft.touch(mode=0o600)
            draft.write_text(json.dumps(stored), encoding="utf-8")
            draft.replace(self._file)
