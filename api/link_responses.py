"""Responses of the pages behind links in mails, whose addresses have a token: not kept, not framed, not referred to."""

from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import Path
from fastapi.responses import HTMLResponse

from api.problems import documented
from wishcraft.rendering.link_pages import link_page

_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'self'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",  # the page's address has the token
    "X-Robots-Tag": "noindex",
}
LinkToken = Annotated[
    str,
    Path(
        max_length=200,
        examples=["AQAAAAE3k0m1vS6w2Qx9bT7yRzLpN4cUdEfGhIjK"],
        description="The token of the link in a mail.",
    ),
]
LINK_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    HTTPStatus.OK: {"description": "The page."},
    HTTPStatus.NOT_FOUND: {
        "description": "A page that says that the link is not valid.",
        "content": {"text/html": {"schema": {"type": "string"}}},
    },
    **documented("invalid-request"),
}


def page_response(page: str, status: HTTPStatus = HTTPStatus.OK) -> HTMLResponse:
    """HTML response with the headers of all pages behind links in mails."""
    return HTMLResponse(page, status, headers=_HEADERS)


def no_such_link() -> HTMLResponse:
    """The response to a link that was cut or made up."""
    page = link_page("This link does not work", "Copy the whole address from the mail, and try again.")
    return page_response(page, HTTPStatus.NOT_FOUND)
