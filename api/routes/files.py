"""Files that jobs and webhooks made for people: reports, exported data, what is known about a customer."""

import asyncio
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import FileResponse

from api.auth.dependencies import AppStateDep
from api.auth.operations import require_operations_password
from api.problems import documented, not_found
from wishcraft.domain.text_forms import FILE_PART
from wishcraft.files import file_path

router: Final = APIRouter(tags=["operations"])
_HEADERS: Final = {
    "Accept-Ranges": "none",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
}
_PROBLEMS: Final = (
    "unauthorized",
    "not-found",
    "invalid-request",
    "too-many-requests",
)
_CONTENT: Final[dict[str, Any]] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_PAGE_POLICY: Final = (
    "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
"""Of a page that is shown: no script, no form, and nothing is loaded."""


@router.get(
    file_path("{run}", "{name}"),
    summary="Fetch a file",
    response_class=FileResponse,
    responses={
        HTTPStatus.OK: {"description": "The file, to be saved, or a page to be shown.", "content": _CONTENT},
        **documented(*_PROBLEMS),
    },
    dependencies=[Depends(require_operations_password)],
)
async def fetch(
    request: Request,
    app_state: AppStateDep,
    run: Annotated[
        str,
        Path(
            max_length=128,
            pattern=FILE_PART,
            examples=["3b0f6a52-5a53-4d6e-8d0b-0f6f6c1f7d3e"],
            description="The id of the run or request that made the file.",
        ),
    ],
    name: Annotated[
        str,
        Path(max_length=128, pattern=FILE_PART, examples=["registry-report.html"], description="The name of the file."),
    ],
    show: Annotated[
        bool, Query(description="Show a page, whose name ends in `.html`, instead of saving it.", examples=[True])
    ] = False,
) -> FileResponse:
    """The file of a run, which a browser saves. It is deleted after 30 days (`file_days` of `cleanup-logs`)."""
    file = await asyncio.to_thread(app_state.resources.files.find, run, name)
    if file is None:
        raise not_found("There is no such file, or no longer.")
    # Starlette would answer parts, and refuse those that are not there, in another form than all errors have.
    request.scope["headers"] = [header for header in request.scope["headers"] if header[0] != b"range"]
    if show and name.endswith(".html"):
        return FileResponse(file, media_type="text/html", headers=_HEADERS | {"Content-Security-Policy": _PAGE_POLICY})
    return FileResponse(
        file,
        media_type="application/octet-stream",
        filename=name,
        content_disposition_type="attachment",
        headers=_HEADERS,
    )
