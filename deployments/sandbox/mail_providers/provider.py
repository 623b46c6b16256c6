"""Shared code of both simulated providers: faults of their replies, the mailbox, and events of accepted mails."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request
from pydantic import Field

from deployments.sandbox.mail_faults import AddressFaultSetting
from deployments.sandbox.mail_providers.accepted import AcceptedMail, PlannedEvent, plan_events
from deployments.sandbox.mail_providers.faults import ProviderFault, ProviderFaultKind, ProviderFaults
from deployments.sandbox.mail_providers.webhook_sender import WebhookSender
from deployments.sandbox.mailbox import DOMAIN, SHOP_DOMAIN

VERIFIED_DOMAINS: Final = frozenset({DOMAIN, SHOP_DOMAIN})

Publish = Callable[[PlannedEvent], Awaitable[None]]
"""Sends an event of a mail."""


class ProviderFaultSetting(AddressFaultSetting[ProviderFaultKind]):
    """A fault to add to a provider."""

    seconds: Annotated[float, Field(ge=0)] = 0


def is_verified(address: str) -> bool:
    """Whether mail may be sent from the address."""
    return address.rpartition("@")[2].lower() in VERIFIED_DOMAINS


def add_fault_routes(router: APIRouter, faults: ProviderFaults) -> None:
    """Add routes that list and set the faults."""

    @router.get("/faults")
    async def list_faults() -> dict[str, Any]:
        """The active faults, and the description of each kind."""
        return {"faults": faults, "kinds": ProviderFaultKind.descriptions()}

    @router.put("/faults")
    async def set_fault(setting: ProviderFaultSetting) -> list[ProviderFault]:
        """Add or remove a fault; returns the active ones."""
        faults.set(ProviderFault(**setting.model_dump()))
        return faults


async def wait_for_disconnect(request: Request) -> None:
    """Wait until the client closes the connection; the request's body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def hang_up(request: Request) -> None:
    """Close the connection without a reply, which ASGI has no message for: uvicorn's cycle holds the transport."""
    request.receive.__self__.transport.abort()  # type: ignore[attr-defined]


def start_events(mail: AcceptedMail, faults: ProviderFaults, sender: WebhookSender, publish: Publish) -> None:
    """Send the events of an accepted mail in the background, as the faults say."""
    events = plan_events(mail, faults)

    async def run() -> None:
        for event in events:
            await asyncio.sleep(event.seconds)
            await publish(event)

    sender.background.start(run())


def now() -> datetime:
    """The time of an event."""
    return datetime.now(UTC)
