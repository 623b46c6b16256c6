"""The page behind the link in every mail, and the one click that ends them (RFC 8058). The link is all the proof."""

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
    "Referrer-Policy": "no-referrer",  # the address of the page is the proof
    "X-Robots-Tag": "noindex",
}
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    HTTPStatus.NOT_FOUND: {"description": "We sent no such link.", "content": {"text/html": {}}},
    **documented(HTTPStatus.UNPROCESSABLE_ENTITY),
}
Token = Annotated[str, Path(max_length=200, description="From a mail's link.")]


@router.get("/{token}", summary="Ask whether to end a shop's mail", response_class=HTMLResponse, responses=_RESPONSES)
async def ask(request: Request, token: Token) -> HTMLResponse:
    """A page with a button. It changes nothing itself: mail filters follow links too."""
    resources: Resources = request.app.state.resources
    found = await find_unsubscribe_target(resources, request.app.state.settings, token)
    if found is None:
        return _no_such_link()
    return _answer(
        unsubscribe_page(
            f"No more reminders from {found.shop}?",
            "You can close this page to keep them.",
            found.colour,
            with_button=True,
        )
    )


@router.post(
    "/{token}",
    summary="End a shop's mail to whom the link was sent",
    response_class=HTMLResponse,
    responses=_RESPONSES,
)
async def confirm(request: Request, token: Token) -> HTMLResponse:
    """Ends it at once, without a login, as often as asked. What the body says does not matter."""
    resources: Resources = request.app.state.resources
    found = await find_unsubscribe_target(resources, request.app.state.settings, token)
    if found is None:
        return _no_such_link()
    await unsubscribe(resources, found.subscription)
    return _answer(unsubscribe_page("Done", f"{found.shop} will send you no more reminders.", found.colour))


def _no_such_link() -> HTMLResponse:
    page = unsubscribe_page("This link does not work", "Copy the whole address from the mail, and try again.")
    return _answer(page, HTTPStatus.NOT_FOUND)


def _answer(page: str, status: HTTPStatus = HTTPStatus.OK) -> HTMLResponse:
    return HTMLResponse(page, status, headers=_HEADERS)
