"""Verifies the ID token (a JWT) that App Bridge gives to the app's pages in the embedded admin. No I/O.

https://shopify.dev/docs/apps/build/authentication-authorization/session-tokens
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import jwt

from wishcraft.domain.shops import SHOP_DOMAIN

LEEWAY_SECONDS: Final = 10
_SHOP: Final = re.compile(f"https://({SHOP_DOMAIN})")


@dataclass(frozen=True, slots=True)
class AdminIdentity:
    """The shop of the admin, the id of the staff member, and when the token was issued."""

    shop: str
    user: str
    issued_at: datetime


def verify_id_token(token: str, secrets: Sequence[str], client_id: str) -> AdminIdentity | None:
    """The identity that the token proves; None if signature, audience or validity period are wrong."""
    for secret in secrets:
        try:
            claims = jwt.decode(
                token,
                secret,
                algorithms=["HS256"],
                audience=client_id,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "nbf", "aud", "dest", "sub"]},
            )
        except jwt.InvalidTokenError:
            continue
        shop = _SHOP.fullmatch(str(claims["dest"]))
        try:
            issued_at = datetime.fromtimestamp(int(claims["nbf"]), UTC)
        except (ValueError, OverflowError, OSError):
            return None
        return AdminIdentity(shop[1], str(claims["sub"]), issued_at) if shop else None
    return None
