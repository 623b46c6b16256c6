"""A proxy in front of the simulated Shopify that records its responses, and later sends them without it.

To record, run what will be measured once; then `POST /replay`. From then on a request gets the last response that the
same request got, so that a poll of a bulk operation finds it complete.
"""

from http import HTTPStatus
from typing import Final

import httpx
from fastapi import FastAPI, HTTPException, Request, Response

from wishcraft.settings import settings

app: Final = FastAPI()
_simulator: Final = httpx.AsyncClient(base_url=settings().shopify_origin.removesuffix("/{shop}"), timeout=60)
_responses: Final[dict[tuple[str, str, bytes], Response]] = {}
_KEPT_HEADERS: Final = ("content-type", "content-encoding")


@app.post("/replay", status_code=HTTPStatus.NO_CONTENT)
def replay() -> None:
    """Route: from now on, send what was recorded."""
    app.state.replays = True


@app.api_route("/{path:path}", methods=["GET", "POST"])
async def answer(request: Request) -> Response:
    """Route: the recorded response, or the simulator's, which is recorded."""
    body = await request.body()
    url = f"{request.url.path}?{request.url.query}"
    if getattr(request.app.state, "replays", False):
        recorded = _responses.get((request.method, url, body))
        if recorded is None:
            raise HTTPException(404, "The request was not recorded")
        return recorded
    # With the `Host` of the request, so that the simulator's URLs of files are this server's.
    forwarded = _simulator.build_request(request.method, url, headers=request.headers.raw, content=body)
    response = await _simulator.send(forwarded, stream=True)
    content = b"".join([part async for part in response.aiter_raw()])
    await response.aclose()
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    recorded = _responses[request.method, url, body] = Response(content, response.status_code, headers)
    return recorded
