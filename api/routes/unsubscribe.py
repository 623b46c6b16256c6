"""The unsubscribe page, one-click unsubscribe (RFC 8058) and its undoing. The link's token is the only credential."""

from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from api.auth.dependencies import AppStateDep, LinkOriginDep, over_limit
from api.link_responses import LINK_RESPONSES, LinkToken, no_such_link, page_response
from api.problems import documented
from api.state import AppState
from wishcraft.domain.mail_suppressions import SuppressionReason
from wishcraft.domain.rate_limits import Policy
from wishcraft.rendering import link_pages
from wishcraft.services.mail.unsubscribe import (
    LIFTED_BY_LINK,
    UnsubscribeTarget,
    find_unsubscribe_target,
    undo_unsubscribe,
    unsubscribe,
)

UNDOINGS: Final = Policy("undo", 10, 3600)
"""Unsubscriptions of an address that are undone. Unsubscribing is never refused: without undoing it changes nothing."""
router: Final = APIRouter(prefix="/api/unsubscribe", tags=["mail"])


@router.get(
    "/{token}/undo",
    summary="Show the page after undoing",
    response_class=HTMLResponse,
    responses=LINK_RESPONSES,
)
@router.get(
    "/{token}",
    summary="Show the unsubscribe page",
    response_class=HTMLResponse,
    responses=LINK_RESPONSES,
)
async def ask(request: Request, app_state: AppStateDep, token: LinkToken) -> HTMLResponse:
    """A page with a button. It changes nothing, because mail filters follow links too."""
    target = await _find(app_state, token)
    return _page(request, target, token) if target else no_such_link()


@router.post(
    "/{token}",
    summary="Unsubscribe from a shop's mail",
    response_class=HTMLResponse,
    responses=LINK_RESPONSES,
)
async def confirm(request: Request, app_state: AppStateDep, token: LinkToken, origin: LinkOriginDep) -> HTMLResponse:
    """Ends the shop's mail to the address that the link was sent to. Needs no login; the body is ignored."""
    target = await _find(app_state, token)
    if target is None:
        return no_such_link()
    await unsubscribe(app_state.resources, target.subscription, origin)
    complained = target.suppressed is SuppressionReason.COMPLAINT
    return _page(request, target if complained else target._replace(suppressed=SuppressionReason.UNSUBSCRIBE), token)


@router.post(
    "/{token}/undo",
    summary="Undo an unsubscription",
    response_class=HTMLResponse,
    responses=LINK_RESPONSES | documented("too-many-requests"),
)
async def undo(request: Request, app_state: AppStateDep, token: LinkToken, origin: LinkOriginDep) -> HTMLResponse:
    """The shop's mail goes to the address again, unless its owner complained about it. The body is ignored."""
    target = await _find(app_state, token)
    if target is None:
        return no_such_link()
    if target.suppressed in LIFTED_BY_LINK:
        address = f"{target.subscription.shop_id}:{target.subscription.address_hash.hex()}"
        verdict = app_state.resources.limiter.take(UNDOINGS, address)
        if not verdict.allowed:
            raise over_limit(verdict.reset)
    await undo_unsubscribe(app_state.resources, target.subscription, origin)
    target = await _find(app_state, token)
    return _page(request, target, token, is_undone=True) if target else no_such_link()


async def _find(app_state: AppState, token: str) -> UnsubscribeTarget | None:
    return await find_unsubscribe_target(app_state.resources, app_state.settings, token)


def _page(request: Request, target: UnsubscribeTarget, token: str, *, is_undone: bool = False) -> HTMLResponse:
    """The page of a subscription in its present state."""
    # Relative, because a proxy has prefixes; empty for the page's own address.
    stop, restart = (f"../{token}", "") if request.url.path.endswith("/undo") else ("", f"{token}/undo")
    if target.suppressed is SuppressionReason.UNSUBSCRIBE:
        texts = link_pages.UNSUBSCRIBED
    elif target.suppressed is SuppressionReason.BOUNCE:
        texts = link_pages.BOUNCED
    elif target.suppressed:
        texts = link_pages.COMPLAINED
    else:
        texts = link_pages.RESUBSCRIBED if is_undone else link_pages.UNSUBSCRIBE
    paths = [restart if target.suppressed else stop]
    address = target.subscription.masked or link_pages.your_address(target.language)
    page = link_pages.translated_page(texts, target.language, target.colour, paths, shop=target.shop, address=address)
    return page_response(page)
