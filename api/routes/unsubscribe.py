"""The unsubscribe page and one-click unsubscribe (RFC 8058). The token in the link is the only credential."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse

from api.auth.dependencies import LinkOriginDep
from api.link_pages import LINK_RESPONSES, no_such_link, page_response
from wishcraft.mail.messages.link_page import Button, link_page
from wishcraft.resources import Resources
from wishcraft.services.reminders.unsubscribe import find_unsubscribe_target, unsubscribe

router: Final = APIRouter(prefix="/api/unsubscribe", tags=["mail"])

Token = Annotated[str, Path(max_length=200, description="The token of the link in a mail.")]


@router.get("/{token}", summary="Show the unsubscribe page", response_class=HTMLResponse, responses=LINK_RESPONSES)
async def ask(request: Request, token: Token) -> HTMLResponse:
    """A page with a button. It changes nothing, because mail filters follow links too."""
    resources: Resources = request.app.state.resources
    target = await find_unsubscribe_target(resources, request.app.state.settings, token)
    if target is None:
        return no_such_link()
    return page_response(
        link_page(
            f"No more mail from {target.shop}?",
            "You can close this page to keep it.",
            target.colour,
            [Button("Yes, no more mail")],
        )
    )


@router.post(
    "/{token}",
    summary="Unsubscribe from a shop's mail",
    response_class=HTMLResponse,
    responses=LINK_RESPONSES,
)
async def confirm(request: Request, token: Token, origin: LinkOriginDep) -> HTMLResponse:
    """Ends the shop's mail to the address that the link was sent to. Needs no login; the body is ignored."""
    resources: Resources = request.app.state.resources
    target = await find_unsubscribe_target(resources, request.app.state.settings, token)
    if target is None:
        return no_such_link()
    await unsubscribe(resources, target.subscription, origin)
    return page_response(link_page("Done", f"{target.shop} will send you no more mail.", target.colour))
