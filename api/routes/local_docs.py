"""The pages of `docs` and what they link to, such as the runbooks, which alerts name. Of the local stack only.

`api.app` has these routes only if START_PAGE is set.
"""

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Final
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from api import problems
from api.routes.start_page import require_this_machine
from api.templating import PAGES

_ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = _ROOT / "docs"
_BESIDE: Final = {name: _ROOT / f"{name}.md" for name in ("CHANGELOG", "CONTRIBUTING")}
"""Pages that are not in `docs`, by the path that they have among its pages."""
LINKED: Final = {
    "analysts.ipynb": DOCS / "analysts.ipynb",
    **{
        f"deployments/monitoring/{name}": _ROOT / "deployments/monitoring" / name
        for name in ("alertmanager.yaml", "alerts.yaml", "dashboard.json", "prometheus.yaml")
    },
}
"""Files that are not pages and that pages link to, by their path beside the pages."""
_MARKDOWN: Final = MarkdownIt("commonmark", {"html": False}).enable("table")
_PAGE: Final = PAGES.get_template("local_docs.html")
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; form-action 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}

router: Final = APIRouter(include_in_schema=False, dependencies=[Depends(require_this_machine)])


@router.get("/docs")
async def list_pages() -> HTMLResponse:
    """The pages, by their titles."""
    titles = await asyncio.to_thread(_titles)
    decisions = [path for path in titles if path.startswith("decisions/")]
    pages = sorted(titles.keys() - decisions, key=lambda path: titles[path])
    lists = [
        Markup("<ul>\n{}\n</ul>").format(
            Markup("\n").join(Markup('<li><a href="/{}.md">{}</a></li>').format(path, titles[path]) for path in paths)
        )
        for paths in (pages, decisions)
    ]
    body = Markup("<h1>All docs</h1>\n{}\n<h2>Decisions</h2>\n{}").format(*lists)
    return HTMLResponse(_PAGE.render(title="All docs", body=body), headers=_HEADERS)


@router.get("/docs/{page:path}.md")
async def show_in_checkout(page: str) -> RedirectResponse:
    """A page by its path in the checkout, as the changelog links to it: its pictures are beside `/{page}.md`."""
    if await asyncio.to_thread(_find, f"{page}.md") is None:
        raise _no_such_page()
    return RedirectResponse(f"/{quote(page)}.md")


@router.get("/docs/{page:path}")
async def show_without_ending(page: str) -> RedirectResponse:
    """A page by its name in `docs`, without `.md`."""
    return await show_in_checkout(page)


@router.get("/{page:path}.md")
async def show(page: str) -> HTMLResponse:
    """A page of `docs`, by its path there, so that the links between the pages work."""
    text = await asyncio.to_thread(_read, page)
    if text is None:
        raise _no_such_page()
    # S704: Markdown is rendered without HTML of its own
    tokens = _with_anchors(_MARKDOWN.parse(text))
    body = Markup(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}))  # noqa: S704
    return HTMLResponse(_PAGE.render(title=_title(text), body=body), headers=_HEADERS)


@router.get("/analysts.ipynb")
@router.get("/deployments/monitoring/{_name}")
async def show_linked(request: Request) -> FileResponse:
    """A file that pages link to, as text."""
    file = LINKED.get(request.url.path.removeprefix("/"))
    if file is None:
        raise problems.not_found("No page of the docs links to such a file.")
    return FileResponse(file, media_type="text/plain; charset=utf-8", headers=_HEADERS)


@router.get("/pictures/{name}.png")
async def show_picture(name: str) -> FileResponse:
    """Serve a picture of the docs; 404 if there is none of this name."""
    file = await asyncio.to_thread(_find, f"pictures/{name}.png")
    if file is None:
        raise problems.not_found("There is no such picture in the docs.")
    return FileResponse(file)


def _no_such_page() -> problems.ProblemError:
    return problems.not_found("There is no such page in the docs. /docs has all pages.")


def _titles() -> dict[str, str]:
    """The titles of the pages that are listed, by path; the decisions in their order."""
    files = {page.stem: page for page in DOCS.glob("*.md")} | _BESIDE
    decisions = {f"decisions/{page.stem}": page for page in sorted(DOCS.glob("decisions/*.md"))}
    titles = {path: _title(file.read_text("utf-8")) for path, file in (files | decisions).items()}
    return titles | {"runbooks/README": "Runbooks"}


def _title(text: str) -> str:
    return text.partition("\n")[0].lstrip("# ")


def _with_anchors(tokens: Sequence[Token]) -> Sequence[Token]:
    """The tokens of a page, whose headings have anchors as GitHub makes them."""
    for token, inside in pairwise(tokens):
        if token.type == "heading_open":
            token.attrSet("id", re.sub(r"[^\w\- ]", "", inside.content.lower()).replace(" ", "-"))
    return tokens


def _read(page: str) -> str | None:
    """The text of a page; None if there is none."""
    file = _BESIDE.get(page) or _find(f"{page}.md")
    return file.read_text("utf-8") if file else None


def _find(path: str) -> Path | None:
    """A file of `docs`; None if there is none, or none within `docs`."""
    if "\0" in path or path.startswith("/"):  # an absolute one, which a redirect would make the name of a host
        return None
    with suppress(OSError):  # its name is too long
        file = (DOCS / path).resolve()
        return file if file.is_relative_to(DOCS) and file.is_file() else None
    return None
