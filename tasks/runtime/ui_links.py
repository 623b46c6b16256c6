"""URLs of pages in the Prefect UI, version 2, which `/` leads to, and whose pages redirect to the login if needed.

Without the login, a run's page of version 1 says that there is no such page, and the pages of artifacts and deployments
of version 2 end in an error after it: they append their tab to the address twice (last seen with Prefect 3.9.1). So
links to these lead to the login, which goes on at once if the browser is logged in. Prefect's own log lines name
version 2 if PREFECT_UI_URL ends with `/v2`.
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote
from uuid import UUID

from prefect.settings import PREFECT_UI_URL
from pydantic import ValidationError

from wishcraft.reports.markdown import link_runbooks
from wishcraft.settings import JobSettings


def _page(path: str) -> str:
    base = str(PREFECT_UI_URL.value()).rstrip("/").removesuffix("/v2")
    return f"{base}/v2/{path}"


def runs_page() -> str:
    """URL of the list of all runs."""
    return _page("runs")


def run_page(run_id: UUID | str) -> str:
    """URL of a flow run's page."""
    return _page(f"runs/flow-run/{run_id}")


def run_form(deployment_id: UUID | str, parameters: Mapping[str, Any]) -> str:
    """URL of the form that starts a run of the deployment, filled with these parameters.

    It is for a browser that is logged in: the login cannot lead to a page with parameters, whose error it would show.
    """
    filled = quote(json.dumps(dict(parameters), default=str), safe="")
    return _page(f"deployments/deployment/{deployment_id}/run?parameters={filled}")


def artifact_page(artifact_id: UUID) -> str:
    """URL of an artifact's page, by way of the login."""
    return _page(f"login?redirectTo=/artifacts/artifact/{artifact_id}")


def with_runbook_links(text: str) -> str:
    """The Markdown of an artifact, with links to the runbooks that it names if RUNBOOK_URL is their address."""
    try:
        return link_runbooks(text, JobSettings().runbook_url)
    except ValidationError:  # of another setting: the text may be about it
        return text
