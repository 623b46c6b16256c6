"""The templates of pages without translations, and their scripts in a Content-Security-Policy."""

import base64
import hashlib
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from wishcraft.domain import times
from wishcraft.settings import time_zone

PAGES: Final = Environment(
    loader=PackageLoader("api"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    auto_reload=False,
    trim_blocks=True,
    lstrip_blocks=True,
)
PAGES.filters |= {"utc": times.utc, "minute": lambda moment: times.minute(moment, time_zone())}


def csp_source(script: str) -> str:
    """The source that lets a page run this script in it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
