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
_STAFF_MEMBER: Final = re.compile("[0-9]{1,20}")
"""The tokens of extensions in the checkout and in customer accounts, signed with the same secret for the same audience,
have the global id of a customer, or nothing."""


@dataclass(frozen=True, slots=True)
class AdminIdentity:
    """The shop of the admin, the id of the staff member, and when the token was issued."""

    shop: str
    user: str
    issued_at: datetime


def verify_id_token(token: str, secrets: Sequence[str], client_id: str) -> AdminIdentity | None:
    """The identity that the token proves; None for a customer, or if signature, audience or times are wrong."""
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
        shop, user = _SHOP.fullmatch(str(claims["dest"])), _STAFF_MEMBER.fullmatch(str(claims["sub"]))
        try:
            issued_at = datetime.fromtimestamp(int(claims["nbf"]), UTC)
        except (ValueError, OverflowError, OSError):
            return None
        return AdminIdentity(shop[1], user[0], issued_at) if shop and user else None
    return None
