"""The pages behind an invitation's link. The token in the link is the only credential."""

from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from api.auth.dependencies import AppStateDep, LinkOriginDep, limit_invalid_links
from api.link_responses import LINK_RESPONSES, LinkToken, no_such_link, page_response
from api.problems import documented
from api.state import AppState
from wishcraft.domain.invitations import InvitationAnswer, InvitationStatus
from wishcraft.domain.mail_suppressions import SuppressionReason
from wishcraft.mail.messages.invitation import registry_phrase
from wishcraft.rendering import link_pages
from wishcraft.services.invitations.answer import answer_invitation, find_invitation
from wishcraft.store.invitations import LinkedInvitation

router: Final = APIRouter(
    prefix="/api/invitations",
    tags=["mail"],
    dependencies=[Depends(limit_invalid_links)],
    responses=documented("too-many-requests"),
)


@router.get(
    "/{token}/decline",
    summary="Show a declined invitation",
    response_class=HTMLResponse,
    responses=LINK_RESPONSES,
)
@router.get(
    "/{token}",
    summary="Show an invitation",
    response_class=HTMLResponse,
    responses=LINK_RESPONSES,
)
async def show(request: Request, app_state: AppStateDep, token: LinkToken) -> HTMLResponse:
    """A page with the buttons to confirm and to decline. It changes nothing, because mail filters follow links too."""
    return _answer(request, app_state, await find_invitation(app_state.resources, token), token)


@router.post(
    "/{token}",
    summary="Confirm an invitation",
    response_class=HTMLResponse,
    responses=LINK_RESPONSES,
)
async def confirm(request: Request, app_state: AppStateDep, origin: LinkOriginDep, token: LinkToken) -> HTMLResponse:
    """Reminders of the registry go to the address from now on. The first answer counts; the body is ignored."""
    return _answer(
        request,
        app_state,
        await answer_invitation(app_state.resources, token, InvitationAnswer.CONFIRMED, origin),
        token,
    )


@router.post(
    "/{token}/decline",
    summary="Decline an invitation",
    response_class=HTMLResponse,
    responses=LINK_RESPONSES,
)
async def decline(request: Request, app_state: AppStateDep, origin: LinkOriginDep, token: LinkToken) -> HTMLResponse:
    """No mail about the registry goes to the address any more. The first answer counts; the body is ignored."""
    return _answer(
        request,
        app_state,
        await answer_invitation(app_state.resources, token, InvitationAnswer.DECLINED, origin),
        token,
    )


def _answer(request: Request, app_state: AppState, invitation: LinkedInvitation | None, token: str) -> HTMLResponse:
    """The page of an invitation in its present state."""
    if invitation is None:
        app_state.authenticator.count_refusal(request.scope)
        return no_such_link()
    settings, is_closed = invitation.settings, False
    page_path = f"../{token}" if request.url.path.endswith("/decline") else token  # relative: a proxy has prefixes
    open_states = {InvitationStatus.INVITED, InvitationStatus.CONFIRMED}
    can_confirm = invitation.suppressed is SuppressionReason.BOUNCE and invitation.status is InvitationStatus.INVITED
    if invitation.suppressed and invitation.status in open_states and not can_confirm:
        texts = link_pages.SUPPRESSED
    else:
        texts = link_pages.INVITATIONS[invitation.status]
        is_closed = invitation.status is InvitationStatus.EXPIRED
    registry = registry_phrase(invitation.event_type, settings.language)
    page = link_pages.translated_page(
        texts,
        settings.language,
        settings.brand_colour,
        [page_path, f"{page_path}/decline"],
        shop=invitation.shop,
        registry=registry,
    )
    return page_response(page, HTTPStatus.NOT_FOUND if is_closed else HTTPStatus.OK)
