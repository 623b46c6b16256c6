"""Client of Prefect's REST API for the local stack. Uses plain HTTP: importing Prefect's own client takes seconds."""

import asyncio
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import httpx

from wishcraft.errors import WishCraftError, in_words
from wishcraft.services.operations.prefect_api import POOL, is_active, paused_jobs, read_pages

NOT_AT_START: Final = frozenset({"report", "analysis", "shop", "webhooks"})
"""Tags of jobs that a start of the stack does not run: they answer a question, or need the name of a shop."""
CACHE_WARM: Final = "cache-warm"
"""Due at each start: a Redis that was started again serves none of its entries."""
_UNFINISHED: Final = ("RUNNING", "PENDING", "CANCELLING")


class PrefectUnavailable(WishCraftError):  # noqa: N818  it names a state
    """The Prefect server did not answer, or answered with an error."""


@dataclass(frozen=True, slots=True)
class RunState:
    """Name and message of a run's last known state; not a final state if the wait timed out."""

    name: str
    message: str


class PrefectApi:
    """Client of one Prefect server. Every method raises `PrefectUnavailable` unless its docstring says otherwise."""

    def __init__(self, url: str, password: str | None = None) -> None:
        """`url` ends with /api; `password` is `user:password` if the server requires one."""
        headers = {"Authorization": f"Basic {b64encode(password.encode()).decode()}"} if password else {}
        self._http = httpx.AsyncClient(base_url=url, headers=headers, timeout=15, trust_env=False)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def is_healthy(self) -> bool:
        """Whether the server is healthy; never raises."""
        try:
            return (await self._http.get("/health")).is_success
        except httpx.HTTPError:
            return False

    async def refuses_login(self) -> bool:
        """Whether a server answers that does not know this login; never raises."""
        try:
            return (await self._http.post("/flow_runs/count", json={})).status_code == httpx.codes.UNAUTHORIZED
        except httpx.HTTPError:
            return False

    async def worker_is_online(self, since: datetime) -> bool:
        """Whether a worker of the pool sent a heartbeat after `since`; never raises."""
        try:
            alive = {"last_heartbeat_time": {"after_": since.isoformat()}}
            return bool(await self._post(f"/work_pools/{POOL}/workers/filter", {"workers": alive}))
        except PrefectUnavailable:
            return False

    async def crash_unfinished_runs(self, message: str, before: datetime, *, pool_only: bool) -> int:
        """Set unfinished runs to Crashed, which frees their concurrency slots at once; return their number.

        A process worker that dies leaves its runs in Running forever.

        Args:
            message: The reason, shown in the run's state.
            before: No run can be alive whose state is older.
            pool_only: Skip runs outside the work pool, such as a flow in a notebook.
        """
        query: dict[str, Any] = {"flow_runs": {"state": {"type": {"any_": _UNFINISHED}}}}
        if pool_only:
            query["work_pools"] = {"name": {"any_": [POOL]}}
        found = await self._find_all("/flow_runs/filter", query)
        runs = [run for run in found if datetime.fromisoformat(run["state"]["timestamp"]) < before]
        state = {"type": "CRASHED", "name": "Crashed", "message": message}
        for run in runs:
            await self._post(f"/flow_runs/{run['id']}/set_state", {"state": state, "force": True})
        return len(runs)

    async def list_due_jobs(self) -> dict[str, str]:
        """Ids by name of the deployments that are due, without those with a tag of `NOT_AT_START`.

        `cache-warm` always is. Another is not if an operator has paused it, or if its last successful run is younger
        than the time between two of its scheduled runs.
        """
        found = await self._find_all("/deployments/filter", {"sort": "NAME_ASC"})
        jobs = [each for each in found if not NOT_AT_START & set(each["tags"])]
        return {each["name"]: each["id"] for each in jobs if each["name"] == CACHE_WARM or await self._is_due(each)}

    async def list_paused_jobs(self) -> list[str]:
        """Names of the jobs whose schedule is paused."""
        return paused_jobs(await self._find_all("/deployments/filter", {}))

    async def _is_due(self, deployment: Mapping[str, Any]) -> bool:
        if not is_active(deployment):
            return False
        deployment_id = deployment["id"]
        succeeded = {"state": {"type": {"any_": ["COMPLETED"]}}}
        upcoming = {"state": {"type": {"any_": ["SCHEDULED"]}}, "expected_start_time": {"after_": now().isoformat()}}
        last = await self._find_runs(deployment_id, succeeded, "END_TIME_DESC", 1)
        begins = [
            datetime.fromisoformat(run["expected_start_time"])
            for run in await self._find_runs(deployment_id, upcoming, "EXPECTED_START_TIME_ASC", 2)
        ]
        if not last or len(begins) < 2:  # noqa: PLR2004  a pair
            return True
        return now() - datetime.fromisoformat(last[0]["end_time"]) >= begins[1] - begins[0]

    async def _find_runs(self, deployment_id: str, filters: dict[str, Any], sort: str, limit: int) -> list[Any]:
        query = {"deployments": {"id": {"any_": [deployment_id]}}, "flow_runs": filters, "sort": sort, "limit": limit}
        found: list[Any] = await self._post("/flow_runs/filter", query)
        return found

    async def run_deployment(self, deployment_id: str, patience: float) -> RunState:
        """Run a deployment with its default parameters and wait up to `patience` seconds for a final state."""
        body = {"state": {"type": "SCHEDULED", "message": "The first run of this stack."}}
        run = await self._post(f"/deployments/{deployment_id}/create_flow_run", body)
        deadline = time.monotonic() + patience
        state = run["state"]
        while state["type"] not in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"} and time.monotonic() < deadline:
            await asyncio.sleep(0.3)
            state = (await self._request("GET", f"/flow_runs/{run['id']}"))["state"]
        return RunState(state["name"], state["message"] or "")

    async def _find_all(self, path: str, query: Mapping[str, Any]) -> list[Any]:
        """All that the query finds, page by page."""

        async def find(**page: int) -> list[Any]:
            found: list[Any] = await self._post(path, {**query, **page})
            return found

        return await read_pages(find)

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        return await self._request("POST", path, body)

    async def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            response = await self._http.request(method, path, json=body)
            return response.raise_for_status().json()
        except httpx.HTTPError as error:
            raise PrefectUnavailable(
                f"Prefect did not answer {method} {path}: {str(error) or in_words(error)}"
            ) from error


def now() -> datetime:
    """The current time in UTC; Prefect's server reads the same clock."""
    return datetime.now(UTC)
