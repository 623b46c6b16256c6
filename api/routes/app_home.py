"""The app's page in Shopify's admin, and the request by which it installs the app."""

import re
from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from api.auth.dependencies import ASK_FOR_NEW_TOKEN, UNKNOWN_TOKEN, Administrator, AppStateDep, IdToken
from api.problems import COMMON, documented, forbidden, not_installed, unauthorized
from api.schemas.admin import InstallationAnswer
from api.templating import PAGES, csp_source
from wishcraft.domain.shops import SHOP_DOMAIN
from wishcraft.errors import UnknownShop
from wishcraft.store import shops

router: Final = APIRouter()

_SHOP: Final = re.compile(SHOP_DOMAIN)
_SCRIPT: Final = PAGES.get_template("app_home.js").render()


@router.get("/app", include_in_schema=False)
async def show(app_state: AppStateDep, shop: Annotated[str, Query(max_length=300)] = "") -> HTMLResponse:
    """The page that the admin shows in a frame: it sends the request below, and says how it went.

    It has no data of the shop: App Bridge gives the ID token for the request only to the shop's own staff.
    """
    is_framed = _SHOP.fullmatch(shop) is not None
    page = PAGES.get_template("app_home.html").render(
        client_id=app_state.settings.shopify_api_key, script=_SCRIPT, is_framed=is_framed
    )
    # Only the admin of the shop in question may frame the page; App Bridge comes from Shopify, as it demands.
    ancestors = f"https://{shop} https://admin.shopify.com" if is_framed else "'none'"
    policy = (
        f"frame-ancestors {ancestors}; script-src {csp_source(_SCRIPT)} https://cdn.shopify.com;"
        " object-src 'none'; base-uri 'none'; form-action 'none'"
    )
    headers = {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"}
    return HTMLResponse(page, headers=headers)


@router.post(
    "/api/admin/installation",
    tags=["admin"],
    summary="Install the app, or renew its access",
    response_description="The shop, as Shopify describes it.",
    response_model=InstallationAnswer,
    responses=documented(*COMMON),
)
async def install(app_state: AppStateDep, caller: Administrator, token: IdToken) -> dict[str, object]:
    """The page of the embedded admin sends this when it opens. It needs an ID token.

    The app gets a new access token of the shop and reads its name, currency and time zone. In a shop that has not had
    the app, the first synchronisation starts. Any other request with an ID token installs the app too, if need be.
    """
    if token is None:
        raise forbidden("Only the embedded admin can install the app: send an ID token.")
    try:
        renewed = await app_state.authenticator.by_id_token(token.credentials, is_renewal=True)
    except UnknownShop:
        raise not_installed() from None
    if renewed is None:
        raise unauthorized(UNKNOWN_TOKEN, ASK_FOR_NEW_TOKEN)
    async with app_state.resources.db.autocommit() as session:
        found = await shops.describe(session, caller.shop_id)
    return found._asdict()
