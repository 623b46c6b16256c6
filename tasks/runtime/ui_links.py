"""Where the Prefect UI shows things: in its second version, whose pages lead to the login when they need one."""

from uuid import UUID

from prefect.settings import PREFECT_UI_URL


def run_page(run: UUID | str) -> str:
    """The page of a flow run."""
    return f"{PREFECT_UI_URL.value()}/v2/runs/flow-run/{run}"


def artifact_page(artifact: UUID) -> str:
    """The page of an artifact."""
    return f"{PREFECT_UI_URL.value()}/v2/artifacts/artifact/{artifact}"
