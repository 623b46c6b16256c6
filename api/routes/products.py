"""The route that looks up products."""

from hashlib import blake2b
from http import HTTPStatus
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Query, Request, Response

from api.auth.dependencies import AppStateDep, Reader
from api.known_parameters import KnownParameters
from api.problems import COMMON, documented
from api.routes.registries import NOT_MODIFIED, IfNoneMatch
from api.schemas.demo import DEMO_VARIANTS
from api.schemas.headers import ETAG, X_CACHE
from api.schemas.requests import parse_variant_ids
from api.schemas.responses import ProductList
from wishcraft.domain.etags import matches
from wishcraft.services.variants.look_up import look_up

router: Final = APIRouter(tags=["products"])


@router.get(
    "/api/products",
    summary="Look up products by their variants",
    response_class=Response,
    responses={
        HTTPStatus.OK: {
            "model": ProductList,
            "description": "The variants that the shop sells, in the order of the request, and the ids of the others.",
            "headers": {"ETag": ETAG, "X-Cache": X_CACHE},
        },
        **NOT_MODIFIED,
        **documented(*COMMON),
    },
)
async def look_up_products(
    request: Request,
    app_state: AppStateDep,
    caller: Reader,
    ids: Annotated[
        list[str],
        Query(
            description="Ids of variants, as an item's `variant_id`, not of products: numbers or "
            "`gid://shopify/ProductVariant/1`, separated by commas or repeated; 50 at most.",
            examples=[[",".join(map(str, DEMO_VARIANTS))]],
        ),
    ],
    _if_none_match: IfNoneMatch = None,
    _known: KnownParameters = None,
) -> Response:
    """What an item with the variant would show, for servers and logged-in customers.

    Prices and stock are Shopify's of at most half an hour ago, or older while Shopify does not answer (`X-Cache`:
    `stale`). Ids of drafts and archived products are unknown, like those that do not exist.
    """
    payload, state = await look_up(app_state.resources, app_state.variants, caller, parse_variant_ids(ids))
    body = orjson.dumps(payload)
    etag = f'"{blake2b(body, digest_size=8).hexdigest()}"'
    headers = {"ETag": etag, "Cache-Control": "private, max-age=60", "X-Cache": state.value}
    if_none_match = ", ".join(request.headers.getlist("if-none-match"))
    if if_none_match and matches(if_none_match, etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(body, headers=headers, media_type="application/json")
