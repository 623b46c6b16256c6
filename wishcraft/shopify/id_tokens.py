"""Who is in the embedded admin: the ID token that App Bridge gives to the app's own pages. Pure: time is the library's.

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
    """The shop whose admin it is, and the id of the person in it."""

    shop: str
    user: str


def verify_id_token(token: str, secrets: Sequence[str], client_id: str) -> AdminIdentity | None:
    """Whom the token speaks for; None if none of the secrets signed it, or it is not for us, or not for now."""
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
