"""FastAPI dependency of the Python peers: the API's check of Shopify's signature, per request."""

from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Depends, HTTPException, Request

from wishcraft.settings import settings
from wishcraft.shopify.signatures import verify_proxy_query

_SECRETS: Final = [settings().shopify_api_secret.get_secret_value()]


async def verified_shop(request: Request) -> str:
    """The shop of the signed request; 401 if the signature is invalid."""
    identity = verify_proxy_query(request.scope["query_string"], _SECRETS, datetime.now(UTC))
    if identity is None:
        raise HTTPException(401)
    return identity.shop


VerifiedShop = Annotated[str, Depends(verified_shop)]
