"""A server with the part of Prefect's REST API that the health checks and installations use.

`tests/jobs/test_schedule.py` sends the same queries to a real Prefect.
"""

import asyncio
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPBasic, HTTPBasicCredentials

USER, PASSWORD = "ops", "let:me:in"
IDS = {"cache-warm": "1", "send-reminders": "2"}
ENDED = "2026-11-30T11:00:00Z"
"""When each run ended."""
Credentials = Annotated[HTTPBasicCredentials, Depends(HTTPBasic())]


class FakePrefect:
    """Two deployments, their `runs`, `overdue` and `upcoming` ones; if `failing`, status 500 to every query."""

    def __init__(self) -> None:
        self.overdue = 0
        self.upcoming = 12
        self.queries = 0
        self.failing = False
        self.hangs = False
        """Whether it lets requests wait, until this is False again."""
        self.paused: list[str] = []
        """The jobs whose schedule is paused."""
        self.runs: list[tuple[str, str]] = []
        """Job and type of state of runs, the newest first; each has the message `broken <b>`."""
        self.started: dict[str, dict[str, Any]] = {}
        """The parameters of started runs, by job."""
        self.app = FastAPI(openapi_url=None)
        self.app.get("/health")(self._health)
        self.app.post("/deployments/filter")(self._deployments)
        self.app.post("/deployments/{name}/create_flow_run")(self._start)
        self.app.post("/flow_runs/filter")(self._runs)
        self.app.post("/flow_runs/count")(self._count)

    async def _health(self) -> bool:
        await self._wait()
        return True

    async def _deployments(self, credentials: Credentials, query: dict[str, Any]) -> list[dict[str, Any]]:
        await self._authorize(credentials)
        if "deployments" in query:
            return [{"id": name, "name": name} for name in query["deployments"]["name"]["any_"]]
        return [
            {"id": id_, "name": name, "paused": False, "schedules": [{"active": name not in self.paused}]}
            for name, id_ in IDS.items()
        ]

    async def _start(self, credentials: Credentials, name: str, body: dict[str, Any]) -> dict[str, str]:
        await self._authorize(credentials)
        self.started[name] = body["parameters"]
        return {"id": "run"}

    async def _runs(self, credentials: Credentials, query: dict[str, Any]) -> list[dict[str, Any]]:
        await self._authorize(credentials)
        if "expected_start_time" in query["flow_runs"]:
            assert "before_" in query["flow_runs"]["expected_start_time"]
            return [{"deployment_id": "2"}] * self.overdue
        types = query["flow_runs"]["state"]["type"]["any_"]
        wanted = query["flow_runs"]["deployment_id"].get("any_", IDS.values())
        return [
            {
                "id": "run",
                "deployment_id": IDS[job],
                "state": {"name": state.capitalize(), "message": "broken <b>"},
                "end_time": ENDED,
            }
            for job, state in self.runs
            if state in types and IDS[job] in wanted
        ]

    async def _count(self, credentials: Credentials, query: dict[str, Any]) -> int:
        """The runs to come, or those of a job that completed after it failed."""
        await self._authorize(credentials)
        if query["flow_runs"].get("end_time") == {"after_": ENDED}:
            states = [state for job, state in self.runs if [IDS[job]] == query["flow_runs"]["deployment_id"]["any_"]]
            return min(states.index(each) for each in ("FAILED", "CRASHED") if each in states)
        assert "after_" in query["flow_runs"]["expected_start_time"]
        return self.upcoming

    async def _wait(self) -> None:
        while self.hangs:  # noqa: ASYNC110  the test is in another thread
            await asyncio.sleep(0.01)

    async def _authorize(self, credentials: HTTPBasicCredentials) -> None:
        self.queries += 1
        await self._wait()
        if (credentials.username, credentials.password) != (USER, PASSWORD):
            raise HTTPException(401)
        if self.failing:
            raise HTTPException(500)
