"""`python -m tests.support.analysts_docs`: renew the outputs of the analysts' notebook and the pictures of reports.

It fills a database of its own with the demo shops, and needs Chromium for the pictures.
"""

import asyncio
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet
from PIL import Image
from playwright.async_api import Browser
from pydantic import SecretStr

from deployments.sandbox.demo import DEFAULT_REGISTRIES, DEFAULT_SEED, seed
from deployments.sandbox.postgres import confine_analysts, create_analyst_login, postgres
from tests.support.layouts import chromium
from tests.support.notebook import NOTEBOOK
from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.analytics.filters import ReportFilter
from wishcraft.domain.periods import last_weeks
from wishcraft.migrations import upgrade
from wishcraft.reports.ad_hoc_sql import run_query
from wishcraft.reports.conversion_report import ConversionReport
from wishcraft.reports.demand_report import DemandReport
from wishcraft.reports.export import export_table
from wishcraft.reports.html import Report, as_html
from wishcraft.reports.page import Page
from wishcraft.reports.registry_report import RegistryReport
from wishcraft.reports.run_file import describe_export
from wishcraft.reports.titles import ANALYSTS
from wishcraft.resources import open_analysts_database
from wishcraft.settings import Settings

PICTURES: Final = NOTEBOOK.parent / "pictures"
_WIDTH, _HEIGHT = 800, 1_200
"""Pixels of a picture: the beginning of a page, as a browser shows it."""
_COLOURS: Final = 64
"""Of the palette, which makes the file a third as large."""
_QUESTION: Final = """SELECT event_type, count(*) AS registries, count(*) FILTER (WHERE visibility = 'public') AS public
FROM registries GROUP BY event_type ORDER BY registries DESC"""


def build_pages(db: AnalystsDatabase, now: datetime) -> Mapping[str, Callable[[], Page]]:
    """The page of each of the analysts' jobs, with its default parameters."""
    today = now.date()
    days = last_weeks(today, 12)

    def export() -> Page:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "purchases.parquet"
            return describe_export("purchases", file, export_table(db, "purchases", ReportFilter(), file))[0]

    return {
        "registry-report": lambda: RegistryReport(ReportFilter(), now).build(db).page,
        "conversion-report": lambda: ConversionReport(ReportFilter(days=days), now).build(db).page,
        "demand-forecast": lambda: DemandReport(ReportFilter(), today, 8).build(db).page,
        "export-data": export,
        "ask": lambda: run_query(db, _QUESTION, 100, 30).page,
    }


async def draw_pictures(browser: Browser, db: AnalystsDatabase, now: datetime, folder: Path) -> None:
    """Write a PNG of the page of each of the analysts' jobs to the folder."""
    pages = {job: build() for job, build in build_pages(db, now).items()}
    window = await browser.new_page(viewport={"width": _WIDTH, "height": 100})
    for job, title in ANALYSTS.items():
        await window.set_content(as_html(Report(title, pages[job].verdict, pages[job].body)))
        height = min(_HEIGHT, int(await window.evaluate("document.documentElement.scrollHeight")))
        shot = await window.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": _WIDTH, "height": height})
        picture = Image.open(io.BytesIO(shot)).convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
        picture.save(folder / f"{job}.png", optimize=True)


def execute_notebook(database_url: str) -> str:
    """The notebook with new outputs, executed in a process that knows only the database."""
    with tempfile.TemporaryDirectory() as folder:
        # No other variable: nothing else is needed, and no display.
        environment = {"DATABASE_REPLICA_URL": database_url, "PATH": os.environ["PATH"], "HOME": folder, "TZ": "UTC"}
        return subprocess.run(  # noqa: S603  this Python
            [sys.executable, "-m", "tests.support.notebook", str(NOTEBOOK)],
            env=environment, cwd=NOTEBOOK.parents[1], stdout=subprocess.PIPE, text=True, check=True, timeout=600,
        ).stdout  # fmt: skip


@contextmanager
def demo_database(now: datetime) -> Iterator[str]:
    """A database of its own with the demo shops; yields its URL for analysts."""
    with tempfile.TemporaryDirectory() as folder, postgres(Path(folder), durable=False) as url:
        analysts_url = create_analyst_login(url, url.rpartition("/")[2])
        upgrade(url)
        confine_analysts(url)
        config = Settings(
            database_url=url,
            redis_url="redis://127.0.0.1:1",
            encryption_keys=SecretStr(Fernet.generate_key().decode()),
            shopify_api_key="none",
            shopify_api_secret=SecretStr("none"),
        )
        seed(config, DEFAULT_REGISTRIES, DEFAULT_SEED, now.date())
        yield analysts_url


async def main() -> None:
    """Renew the notebook and the pictures."""
    now = datetime.now(UTC) - timedelta(minutes=1)
    with demo_database(now) as url:
        NOTEBOOK.write_text(execute_notebook(url), "utf-8")
        with open_analysts_database(url) as db:
            async with chromium() as browser:
                await draw_pictures(browser, db, now, PICTURES)


if __name__ == "__main__":
    asyncio.run(main())
