"""Where the Prefect UI shows things: in its second version, which `/` leads to, and whose pages lead to the login.

Without the login a run's page of the first version, which Prefect's own `url_for` names, says that there is no such
page (last seen with Prefect 3.9.1).
"""

from uuid import UUID

from prefect.settings import PREFECT_UI_URL


def run_page(run: UUID | str) -> str:
    """The page of a flow run."""
    return f"{PREFECT_UI_URL.value()}/v2/runs/flow-run/{run}"


def artifact_page(artifact: UUID) -> str:
    """The page of an artifact."""
    return f"{PREFECT_UI_URL.value()}/v2/artifacts/artifact/{artifact}"
