"""Sends webhooks to an address, again until they are accepted, as the providers do."""

import asyncio
from collections.abc import Mapping
from typing import Final

import httpx

from deployments.sandbox.background import Background

_PAUSES: Final = (0.2, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)
"""Seconds between tries. A response of 4xx is an answer too: it is not repeated."""
_MOST_AT_ONCE: Final = 16
"""Requests; each further one would cost httpx a look at all that wait."""


class WebhookSender:
    """Sends to one URL, or nowhere if it is None."""

    def __init__(self, url: str | None) -> None:
        self._url = url
        self._client = httpx.AsyncClient(timeout=30, trust_env=False)
        self._slots = asyncio.Semaphore(_MOST_AT_ONCE)
        self.background = Background()
        """Sends the events of each mail."""

    async def send(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Send one webhook."""
        if self._url is None:
            return
        for pause in _PAUSES:
            async with self._slots:
                try:
                    response = await self._client.post(self._url, content=body, headers=dict(headers))
                except httpx.HTTPError:
                    response = None
            if response is not None and response.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                return
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """Cancel what runs in the background, and close the connections."""
        await self.background.close()
        await self._client.aclose()
