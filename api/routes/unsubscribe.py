"""The unsubscribe page and one-click unsubscribe (RFC 8058). The token in the link is the only credential."""

from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse

from api.problems import documented
from wishcraft.mail.messages.unsubscribe_page import unsubscribe_page
from wishcraft.resources import Resources
from wishcraft.services.reminders.unsubscribe import find_unsubscribe_target, unsubscribe

router: Final = APIRouter(prefix="/api/unsubscribe", tags=["mail"])

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",  # the page's address has the token
    "X-Robots-Tag": "noindex",
}
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    HTTPStatus.NOT_FOUND: {"description": "The link is not valid.", "content": {"text/html": {}}},
    **documented(HTTPStatus.UNPROCESSABLE_ENTITY),
}
Token = Annotated[str, Path(max_length=200, description="The token of the link in a mail.")]


@router.get("/{token}", summary="Show the unsubscribe page", response_class=HTMLResponse, responses=_RESPONSES)
async def ask(request: Request, token: Token) -> HTMLResponse:
    """A page with a button. It changes nothing, because mail filters follow links too."""
    resources: Resources = request.app.state.resources
    target = await find_unsubscribe_target(resources, request.app.state.settings, token)
    if target is None:
        return _no_such_link()
    return _answer(
        unsubscribe_page(
            f"No more reminders from {target.shop}?",
            "You can close this page to keep them.",
            target.colour,
            with_button=True,
        )
    )


@router.post(
    "/{token}",
    summary="Unsubscribe from a shop's mail",
    response_class=HTMLResponse,
    responses=_RESPONSES,
)
async def confirm(request: Request, token: Token) -> HTMLResponse:
    """Ends the shop's mail to the address that the link was sent to. Needs no login; the body is ignored."""
    resources: Resources = request.app.state.resources
    target = await find_unsubscribe_target(resources, request.app.state.settings, token)
    if target is None:
        return _no_such_link()
    await unsubscribe(resources, target.subscription)
    return _answer(unsubscribe_page("Done", f"{target.shop} will send you no more reminders.", target.colour))


def _no_such_link() -> HTMLResponse:
    page = unsubscribe_page("This link does not work", "Copy the whole address from the mail, and try again.")
    return _answer(page, HTTPStatus.NOT_FOUND)


def _answer(page: str, status: HTTPStatus = HTTPStatus.OK) -> HTMLResponse:
    return HTMLResponse(page, status, headers=_HEADERS)
