"""The mail server's web side: a page for people, JSON for programs, and the faults' switches."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.utils import make_msgid
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from deployments.sandbox.mailbox.letters import Fault, FaultKind, Letterbox
from deployments.sandbox.mailbox.smtp import listen

OPS: Final = "ops@wishcraft.example"


class FaultSetting(BaseModel):
    """A fault to switch on, or off with `remaining` 0; null stays on until then, a null `address` is any."""

    model_config = ConfigDict(extra="forbid")

    kind: FaultKind
    address: str | None = None
    remaining: Annotated[int, Field(ge=0)] | None = None


class Alert(BaseModel):
    """What Prefect posts to ALERT_WEBHOOK_URL: the subject on the first line."""

    text: str


def create_app(smtp_port: int = 0, file: Path | None = None) -> FastAPI:
    """The application; it listens for mail while it lives, and keeps it in `file` from run to run.

    `app.state.box` is what it keeps, and `app.state.smtp_port`, once it has started, where it takes mail.
    """
    app = FastAPI(title="Mailbox", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_lifespan)
    app.state.box, app.state.smtp_port = Letterbox(file), smtp_port
    _add_routes(app, app.state.box)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    server = await listen(app.state.box, app.state.smtp_port)
    app.state.smtp_port = server.sockets[0].getsockname()[1]
    yield
    server.close()


def _add_routes(app: FastAPI, box: Letterbox) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(Path(__file__).with_name("page.html"), media_type="text/html")

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/messages")
    async def messages(to: str | None = None) -> list[dict[str, Any]]:
        """What has come, the newest first; with `to`, what came for that address."""
        return [each.outline() for each in reversed(box.letters) if to is None or to in each.recipients]

    @app.get("/messages/{number}")
    async def message(number: int) -> dict[str, Any]:
        """One mail with its headers and both of its bodies."""
        found = next((each for each in box.letters if each.number == number), None)
        if found is None:
            raise HTTPException(404, "no such message")
        return found.whole()

    @app.post("/alerts", status_code=204)
    async def alert(alert: Alert) -> None:
        """Keep it as a letter to ops, as the webhooks of many a mail gateway do."""
        subject, _, body = alert.text.partition("\n")
        letter = EmailMessage()
        letter["From"], letter["To"], letter["Subject"] = "alerts@wishcraft.example", OPS, subject
        letter["Message-ID"] = make_msgid(domain="wishcraft.example")
        letter.set_content(body)
        box.take("alerts@wishcraft.example", [OPS], letter.as_bytes())

    @app.delete("/messages")
    async def empty() -> list[dict[str, Any]]:
        """Throw all mail away."""
        box.clear()
        return []

    @app.get("/faults")
    async def faults() -> dict[str, Any]:
        """The faults that are on, and the kinds that there are."""
        return {"faults": box.faults, "kinds": list(FaultKind)}

    @app.put("/faults")
    async def set_fault(setting: FaultSetting) -> list[Fault]:
        """Switch a fault on or off; answers with those that are on."""
        box.set_fault(Fault(**setting.model_dump()))
        return box.faults
