"""Shops' offline tokens: encrypted at rest, refreshed by one process at a time."""

from contextlib import AbstractAsyncContextManager
from typing import Any

from cryptography.fernet import Fernet, MultiFernet
from pydantic import SecretStr
from sqlalchemy import or_, select, update

from wishcraft.domain.tokens import OfflineToken
from wishcraft.errors import ShopifyUnauthorized
from wishcraft.store import locks
from wishcraft.store.engine import Database
from wishcraft.store.schema import Shop


class TokenVault:
    """Loads and saves the tokens of shops, by domain."""

    def __init__(self, db: Database, keys: SecretStr) -> None:
        """`keys` are Fernet keys, comma-separated: the first encrypts, all decrypt."""
        self._db = db
        self._fernet = MultiFernet([Fernet(key.strip()) for key in keys.get_secret_value().split(",")])

    async def load(self, shop: str) -> OfflineToken:
        """The shop's token.

        Raises:
            ShopifyUnauthorized: The shop is unknown or has no token.
        """
        query = select(Shop.access_token_encrypted, Shop.refresh_token_encrypted, Shop.token_expires_at)
        async with self._db.transaction() as session:
            row = (await session.execute(query.where(Shop.domain == shop))).one_or_none()
        if row is None or row[0] is None:
            raise ShopifyUnauthorized(f"{shop} has no access token; the merchant must open or install the app")
        return OfflineToken(self._decrypt(row[0]), self._decrypt(row[1]) if row[1] else None, row[2])

    async def save(self, shop: str, token: OfflineToken) -> None:
        """Replace the shop's token, unless it has none (the app was uninstalled), or one that expires later."""
        where = (
            Shop.domain == shop,
            Shop.access_token_encrypted.is_not(None),
            or_(Shop.token_expires_at.is_(None), Shop.token_expires_at <= token.expires_at),
        )
        async with self._db.transaction() as session:
            await session.execute(update(Shop).where(*where).values(self.columns(token)))

    async def discard(self, shop: str, token: OfflineToken) -> None:
        """Delete the shop's token, unless it is another one by now."""
        where = (Shop.domain == shop, Shop.token_expires_at.is_not_distinct_from(token.expires_at))
        async with self._db.transaction() as session:
            await session.execute(update(Shop).where(*where).values(dict.fromkeys(self.columns(token))))

    def columns(self, token: OfflineToken) -> dict[str, Any]:
        """The token as columns of `shops`."""
        return {
            "access_token_encrypted": self._encrypt(token.access),
            "refresh_token_encrypted": self._encrypt(token.refresh) if token.refresh else None,
            "token_expires_at": token.expires_at,
        }

    def refresh_lock(self, shop: str) -> AbstractAsyncContextManager[None]:
        """Hold the lock, across processes, for refreshing the shop's token."""
        return locks.acquire(self._db, "token", shop)

    def _encrypt(self, token: str) -> bytes:
        return self._fernet.encrypt(token.encode())

    def _decrypt(self, stored: bytes) -> str:
        return self._fernet.decrypt(stored).decode()
