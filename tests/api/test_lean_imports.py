"""Modules that the API process does not import. The test takes an interpreter of its own: this one has them all."""

import subprocess
import sys

from deployments.sandbox.processes import ROOT

CHECK = """
import sys
import api.__main__
from api.app import create_app
from wishcraft.settings import Settings

settings = Settings(
    database_url="postgresql+psycopg://127.0.0.1/x",
    redis_url="redis://127.0.0.1",
    encryption_keys="MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    shopify_api_key="id",
    shopify_api_secret="secret",
    start_page=None,
)
assert create_app(settings).openapi()["paths"]
of_jobs_reports_and_ses = {"botocore", "matplotlib", "pandas", "prefect", "pyarrow"}
unused = {"h2", "hpack", "markdown_it", "pydantic.v1", "pygments", "rich"} | of_jobs_reports_and_ses
loaded = [name for name in unused if sys.modules.get(name)]
assert not loaded, loaded
"""


def test_api_process_imports_nothing_that_it_does_not_use() -> None:
    subprocess.run([sys.executable, "-c", CHECK], cwd=ROOT, check=True)  # noqa: S603  the text above
