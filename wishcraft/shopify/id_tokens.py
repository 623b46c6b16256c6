"""Verifies the ID token (a JWT) that App Bridge gives to the app's pages in the embedded admin. No I/O.

https://shopify.dev/docs/apps/build/authentication-authorization/session-tokens
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import jwt

LEEWAY_SECONDS: Final = 10
_SHOP: Final = re.compile(r"https://([a-z0-9][a-z0-9-]*\.myshopify\.com)")


@dataclass(frozen=True, slots=True)
class AdminIdentity:
    """The shop of the admin, and the id of the staff member."""

    shop: str
    user: str


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
        return AdminIdentity(shop[1], str(claims["sub"])) if shop else None
    return None
