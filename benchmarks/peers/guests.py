"""How the peers in Python know a guest: by the API's own check of the signature, made for each request."""

from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Depends, HTTPException, Request

from wishcraft.settings import settings
from wishcraft.shopify.signatures import verify_proxy_query

_SECRETS: Final = [settings().shopify_api_secret.get_secret_value()]


async def verified_shop(request: Request) -> str:
    """The domain of the shop for which Shopify signed the request."""
    identity = verify_proxy_query(request.scope["query_string"], _SECRETS, datetime.now(UTC))
    if identity is None:
        raise HTTPException(401)
    return identity.shop


VerifiedShop = Annotated[str, Depends(verified_shop)]
