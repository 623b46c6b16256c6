"""HTTP side of the mail server: a page for people, JSON for programs, and faults."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.utils import make_msgid
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse
from pydantic import BaseModel

from deployments.sandbox import refusals
from deployments.sandbox.hosts import LoopbackOnly
from deployments.sandbox.mail_faults import AddressFaultSetting
from deployments.sandbox.mail_providers.sendgrid import SimulatedSendGrid
from deployments.sandbox.mail_providers.ses import SimulatedSes
from deployments.sandbox.mailbox import DOMAIN
from deployments.sandbox.mailbox.bounces import BounceSender
from deployments.sandbox.mailbox.dns import local_records, start_dns_server
from deployments.sandbox.mailbox.messages import Fault, FaultKind, Mailbox
from deployments.sandbox.mailbox.smtp import start_smtp_server

OPS: Final = f"ops@{DOMAIN}"
_ALERTS: Final = f"alerts@{DOMAIN}"


FaultSetting = AddressFaultSetting[FaultKind]
"""A fault to add to the mail server."""


class Alert(BaseModel):
    """An alert as Prefect posts it to ALERT_WEBHOOK_URL: the first line is the subject."""

    text: str


def create_app(
    smtp_port: int = 0,
    file: Path | None = None,
    events_url: str | None = None,
    dns_port: int = 0,
    bounces: str | None = None,
) -> FastAPI:
    """Create the application. It runs the servers of SMTP and DNS during its lifespan; `file` keeps the mail.

    `app.state.mailbox` is its `Mailbox`; after the start, `smtp_port` and `dns_port` are the ports of the servers. The
    simulated providers, `app.state.ses` and `app.state.sendgrid`, send their events to `{events_url}/ses` and
    `/sendgrid`, or nowhere, and the mail server its bounces to the LMTP server `bounces`, `host:port`, or nowhere.
    """
    app = FastAPI(title="Mailbox", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_lifespan)
    app.add_middleware(LoopbackOnly)
    refusals.register(app)
    app.state.mailbox, app.state.smtp_port, app.state.dns_port = Mailbox(file), smtp_port, dns_port
    app.state.bounces = BounceSender(bounces)
    _add_routes(app, app.state.mailbox)
    app.state.ses = SimulatedSes(app.state.mailbox, events_url and f"{events_url}/ses")
    app.state.sendgrid = SimulatedSendGrid(app.state.mailbox, events_url and f"{events_url}/sendgrid")
    app.include_router(app.state.ses.router())
    app.include_router(app.state.sendgrid.router())
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    server = await start_smtp_server(app.state.mailbox, app.state.bounces, app.state.smtp_port)
    app.state.smtp_port = server.sockets[0].getsockname()[1]
    dns = await start_dns_server(local_records(), app.state.dns_port)
    app.state.dns_port = dns.get_extra_info("sockname")[1]
    yield
    dns.close()
    server.close()
    await app.state.bounces.close()
    await app.state.ses.sender.close()
    await app.state.sendgrid.sender.close()


def _add_routes(app: FastAPI, mailbox: Mailbox) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(Path(__file__).with_name("page.html"), media_type="text/html")

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/messages")
    async def messages(to: str | None = None) -> list[dict[str, Any]]:
        """Received messages, newest first; with `to`, those for that address."""
        return [each.summary() for each in reversed(mailbox.messages) if to is None or to in each.recipients]

    @app.get("/messages/{number}")
    async def message(number: int) -> dict[str, Any]:
        """One message with its headers and both bodies."""
        found = next((each for each in mailbox.messages if each.number == number), None)
        if found is None:
            raise HTTPException(404, "no such message")
        return found.details()

    @app.post("/alerts", status_code=204)
    async def alert(alert: Alert) -> None:
        """Store an alert as a message to the operators."""
        subject, *body = alert.text.splitlines() or [""]
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = _ALERTS, OPS, subject
        message["Message-ID"] = make_msgid(domain=DOMAIN)
        message.set_content("\n".join(body))
        mailbox.add(_ALERTS, [OPS], message.as_bytes())

    @app.delete("/messages")
    async def empty() -> list[dict[str, Any]]:
        """Delete all messages."""
        mailbox.clear()
        return []

    @app.get("/faults")
    async def faults() -> dict[str, Any]:
        """The active faults, and the description of each kind."""
        return {"faults": mailbox.faults, "kinds": FaultKind.descriptions()}

    @app.put("/faults")
    async def set_fault(setting: FaultSetting) -> list[Fault]:
        """Add or remove a fault; returns the active ones."""
        mailbox.faults.set(Fault(**setting.model_dump()))
        return mailbox.faults
