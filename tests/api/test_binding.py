"""`api.binding`: what it runs itself has the answer of FastAPI's solver, and what is not valid goes to that."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Body, Depends, FastAPI, Header, Path, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field

from api import problems
from api.binding import bind_route
from api.json_bodies import require_json

calls: list[str] = []
bound: list[bool] = []


class Gift(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: str = Field(max_length=5)
    count: int = Field(1, ge=1)


class SolvedRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        solve = super().get_route_handler()

        async def handle(request: Request) -> Response:
            await require_json(request, is_required=True)
            return await solve(request)

        return handle


class BoundRoute(SolvedRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        solve, run = super().get_route_handler(), bind_route(self)
        assert run

        async def handle(request: Request) -> Response:
            answer = await run(request)
            bound.append(answer is not None)
            return answer or await solve(request)

        return handle


async def record_request(request: Request) -> str:
    calls.append("request")
    return request.headers.get("x-id", "nobody")


async def find_ref(
    sender: Annotated[str, Depends(record_request)],
    ref: Annotated[int, Path(le=99)],
    limit: Annotated[int, Header()] = 7,
) -> str:
    calls.append("ref")
    return f"{sender}/{ref}/{limit}"


async def give(
    found: Annotated[str, Depends(find_ref)],
    sender: Annotated[str, Depends(record_request)],
    gift: Annotated[Gift, Body()],
    mark: Annotated[str | None, Header(alias="X-Mark", max_length=3)] = None,
) -> Response:
    calls.append("give")
    return Response(f"{found} {sender} {gift.model_dump_json()} {mark}")


def make_client() -> httpx.AsyncClient:
    app = FastAPI()
    problems.register(app)
    for prefix, route_class in (("/bound", BoundRoute), ("/solved", SolvedRoute)):
        router = APIRouter(prefix=prefix, route_class=route_class)
        router.post("/{ref}", response_class=Response)(give)
        app.router.routes += router.routes
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


JSON = {"content-type": "application/json"}


@pytest.fixture
def post() -> Callable[..., Awaitable[tuple[httpx.Response, list[str]]]]:
    """Sends the request to both routes, which have to agree; the answer, and what was called for it."""

    async def send(body: bytes, headers: dict[str, str], ref: str = "5") -> tuple[httpx.Response, list[str]]:
        answers, called = [], []
        async with make_client() as client:
            for prefix in ("/solved", "/bound"):
                calls.clear()
                bound.clear()
                answers.append(await client.post(f"{prefix}/{ref}", content=body, headers=headers))
                called.append(list(calls))
        assert (answers[0].status_code, answers[0].content) == (answers[1].status_code, answers[1].content)
        assert called[0] == called[1]
        return answers[1], called[1]

    return send


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'{"title": "a"}', JSON),
        (b'{"title": "a", "count": 2}', JSON | {"X-Mark": "abc", "X-Id": "me", "limit": "3"}),
        (b' {"title": "a", "title": "\\u00e9", "count": 1.0}\n', JSON),
        (b'{"title": "a"}', {"content-type": "application/json;charset=UTF-8"}),
        (b'{"title": "a", "count": "3"}', {"content-type": "Application/JSON; charset=utf-8"}),
    ],
)
async def test_valid_request_has_the_answer_of_the_solver(
    post: Callable[..., Awaitable[tuple[httpx.Response, list[str]]]], body: bytes, headers: dict[str, str]
) -> None:
    answer, called = await post(body, headers)
    assert answer.status_code == 200
    assert called == ["request", "ref", "give"]
    assert bound == [True]


@pytest.mark.parametrize(
    ("body", "headers", "ref", "status"),
    [
        (b'{"title": "a"}', JSON, "100", 422),
        (b'{"title": "abcdef", "count": 0, "more": 1}', JSON | {"X-Mark": "abcd", "limit": "x"}, "z", 422),
        (b'{"title": "a", "count": NaN}', JSON, "5", 422),
        (b"{", JSON, "5", 422),
        (b"", JSON, "5", 422),
        (b'{"title": "a"}', {}, "5", 415),
        (b'{"title": "a"}', {"content-type": "text/plain"}, "5", 415),
        ('{"title": "a"}'.encode("utf-16"), JSON, "5", 422),
        (b'{"title": "a"}', {"content-type": "application/json; charset=latin-1"}, "5", 415),
        (b'{"title": "a"}', {"content-type": "application/json; charset=us-ascii"}, "5", 200),
        (b'{"title": "a"}', JSON | {"content-encoding": "gzip"}, "5", 415),
        (b'{"title": "a"}', JSON | {"content-encoding": "identity"}, "5", 200),
        (b'{"title": "a"}', {"content-type": "application/gift+json"}, "5", 200),
    ],
)
async def test_other_request_goes_to_the_solver(
    post: Callable[..., Awaitable[tuple[httpx.Response, list[str]]]],
    body: bytes,
    headers: dict[str, str],
    ref: str,
    status: int,
) -> None:
    answer, called = await post(body, headers, ref)
    assert answer.status_code == status
    assert ("give" in called) == (status == 200)
    assert bound == [False]


async def test_route_that_needs_more_is_left_to_fastapi() -> None:
    async def search(words: Annotated[str, Query()] = "") -> Response:
        return Response(words)

    async def describe(response: Response) -> Response:
        return response

    async def count() -> dict[str, int]:
        return {}

    assert bind_route(APIRoute("/", search, response_class=Response)) is None
    assert bind_route(APIRoute("/", describe, response_class=Response)) is None
    assert bind_route(APIRoute("/", count)) is None
