"""What the local stack asks of Prefect, over plain HTTP: importing Prefect's client would cost it seconds."""

import asyncio
import time
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import httpx

from wishcraft.errors import WishCraftError

POOL: Final = "wishcraft"
_UNFINISHED: Final = ("RUNNING", "PENDING", "CANCELLING")


class PrefectUnavailable(WishCraftError):  # noqa: N818  it names a state
    """The Prefect server did not answer as it should."""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended, in Prefect's words; `name` is "Running" or the like if it was not waited for long enough."""

    name: str
    message: str


class PrefectApi:
    """Requests to one Prefect server. Each raises `PrefectUnavailable` unless its description says otherwise."""

    def __init__(self, url: str, password: str | None = None) -> None:
        """`url` ends with /api; `password` is `user:password`, if the server asks for one."""
        shown = {"Authorization": f"Basic {b64encode(password.encode()).decode()}"} if password else {}
        self._http = httpx.AsyncClient(base_url=url, headers=shown, timeout=15, trust_env=False)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def answers(self) -> bool:
        """Whether the server is healthy; raises nothing."""
        try:
            return (await self._http.get("/health")).is_success
        except httpx.HTTPError:
            return False

    async def has_pool(self) -> bool:
        """Whether the work pool exists; raises nothing."""
        try:
            return (await self._http.get(f"/work_pools/{POOL}")).is_success
        except httpx.HTTPError:
            return False

    async def worker_is_online(self, since: datetime) -> bool:
        """Whether a worker of the pool has reported after `since`; raises nothing."""
        try:
            workers = await self._post(f"/work_pools/{POOL}/workers/filter", {})
        except PrefectUnavailable:
            return False
        return any(datetime.fromisoformat(worker["last_heartbeat_time"]) > since for worker in workers)

    async def crash_unfinished_runs(self, message: str, *, of_the_pool: bool) -> int:
        """Set runs that are under way to Crashed, which frees their deployments' slots at once; return how many.

        Only for a time when nothing can be running: a process worker that dies leaves its runs Running for good.

        Args:
            message: Why, for the people who see the run.
            of_the_pool: Leave alone what runs outside the worker, such as a flow in someone's notebook.
        """
        query: dict[str, Any] = {"flow_runs": {"state": {"type": {"any_": _UNFINISHED}}}}
        if of_the_pool:
            query["work_pools"] = {"name": {"any_": [POOL]}}
        runs = await self._post("/flow_runs/filter", query)
        state = {"type": "CRASHED", "name": "Crashed", "message": message}
        for run in runs:
            await self._post(f"/flow_runs/{run['id']}/set_state", {"state": state, "force": True})
        return len(runs)

    async def jobs(self) -> dict[str, str]:
        """The ids by name of the deployments that keep things going; reports and analyses only tell what has been."""
        found = await self._post("/deployments/filter", {"sort": "NAME_ASC"})
        return {each["name"]: each["id"] for each in found if not {"report", "analysis"} & set(each["tags"])}

    async def run(self, deployment_id: str, patience: float) -> RunOutcome:
        """Run a deployment with its default parameters, and wait up to `patience` seconds for the end."""
        body = {"state": {"type": "SCHEDULED", "message": "The first run of this stack."}}
        run = await self._post(f"/deployments/{deployment_id}/create_flow_run", body)
        deadline = time.monotonic() + patience
        state = run["state"]
        while state["type"] not in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"} and time.monotonic() < deadline:
            await asyncio.sleep(0.3)
            state = (await self._request("GET", f"/flow_runs/{run['id']}"))["state"]
        return RunOutcome(state["name"], state["message"] or "")

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        return await self._request("POST", path, body)

    async def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            response = await self._http.request(method, path, json=body)
            return response.raise_for_status().json()
        except httpx.HTTPError as error:
            raise PrefectUnavailable(f"Prefect did not answer {method} {path}: {error!r}") from error


def now() -> datetime:
    """The time on the clock that Prefect's server reads too."""
    return datetime.now(UTC)
