"""A server that speaks the part of Prefect's REST API that health asks for. What Prefect itself makes of the same
questions is in `tests/jobs/test_schedule.py`."""

from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPBasic, HTTPBasicCredentials

USER, PASSWORD = "ops", "let:me:in"
Credentials = Annotated[HTTPBasicCredentials, Depends(HTTPBasic())]


class PrefectStandIn:
    """Two deployments, `overdue` runs of the second, and `coming` runs."""

    def __init__(self) -> None:
        self.overdue = 0
        self.coming = 12
        self.asked = 0
        self.app = FastAPI(openapi_url=None)
        self.app.get("/health")(self._health)
        self.app.post("/deployments/filter")(self._deployments)
        self.app.post("/flow_runs/filter")(self._overdue)
        self.app.post("/flow_runs/count")(self._coming)

    async def _health(self) -> bool:
        return True

    async def _deployments(self, credentials: Credentials) -> list[dict[str, str]]:
        self._admit(credentials)
        return [{"id": "1", "name": "cache-warm"}, {"id": "2", "name": "send-reminders"}]

    async def _overdue(self, credentials: Credentials, question: dict[str, Any]) -> list[dict[str, str]]:
        self._admit(credentials)
        assert "before_" in question["flow_runs"]["expected_start_time"]
        return [{"deployment_id": "2"}] * self.overdue

    async def _coming(self, credentials: Credentials, question: dict[str, Any]) -> int:
        self._admit(credentials)
        assert "after_" in question["flow_runs"]["expected_start_time"]
        return self.coming

    def _admit(self, credentials: HTTPBasicCredentials) -> None:
        self.asked += 1
        if (credentials.username, credentials.password) != (USER, PASSWORD):
            raise HTTPException(401)
