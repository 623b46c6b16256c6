"""The pages of `docs` with their pictures, such as the runbooks, which letters link to. Of the local stack only.

`api.app` has these routes only if START_PAGE is set.
"""

import asyncio
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Depends
from fastapi.responses import FileResponse, HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markdown_it import MarkdownIt
from markupsafe import Markup

from api import problems
from api.routes.start_page import require_this_machine

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
_MARKDOWN: Final = MarkdownIt("commonmark", {"html": False}).enable("table")
_PAGE: Final = Environment(
    loader=PackageLoader("api"), autoescape=select_autoescape(["html"]), undefined=StrictUndefined, auto_reload=False
).get_template("local_docs.html")
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; base-uri 'none'; form-action 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}

router: Final = APIRouter(include_in_schema=False, dependencies=[Depends(require_this_machine)])


@router.get("/{page:path}.md")
async def show(page: str) -> HTMLResponse:
    """A page of `docs`, by its path there, so that the links between the pages work."""
    text = await asyncio.to_thread(_read, page)
    if text is None:
        raise problems.not_found("There is no such page in the docs.")
    title = text.partition("\n")[0].lstrip("# ")
    # S704: Markdown is rendered without HTML of its own
    return HTMLResponse(_PAGE.render(title=title, body=Markup(_MARKDOWN.render(text))), headers=_HEADERS)  # noqa: S704


@router.get("/pictures/{name}.png")
async def show_picture(name: str) -> FileResponse:
    """A picture of a page."""
    file = await asyncio.to_thread(_find, f"pictures/{name}.png")
    if file is None:
        raise problems.not_found("There is no such picture in the docs.")
    return FileResponse(file)


def _read(page: str) -> str | None:
    """The text of a page; None if there is none."""
    file = _find(f"{page}.md")
    return file.read_text("utf-8") if file else None


def _find(path: str) -> Path | None:
    """A file of `docs`; None if there is none, or none within `docs`."""
    if "\0" in path:
        return None
    file = (DOCS / path).resolve()
    return file if file.is_relative_to(DOCS) and file.is_file() else None
