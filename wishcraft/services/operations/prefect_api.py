"""Calls of Prefect's REST API. Must not import Prefect: the API runs without it."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

import httpx

from wishcraft.errors import ConfigurationError
from wishcraft.settings import Settings

POOL: Final = "wishcraft"
"""The work pool of all deployments, as `prefect.yaml` names it."""
PAGE: Final = 200
"""The most that Prefect's server returns at once, unless it is configured otherwise."""
T = TypeVar("T")


async def post(http: httpx.AsyncClient, settings: Settings, path: str, body: Mapping[str, Any]) -> Any:
    """The answer of Prefect to this request.

    Raises:
        ConfigurationError: PREFECT_API_URL is not set.
        httpx.HTTPError: Prefect did not answer, or answered with an error.
    """
    if settings.prefect_api_url is None:
        raise ConfigurationError("PREFECT_API_URL is not set")
    secret = settings.prefect_api_auth_string
    auth = httpx.BasicAuth(*secret.get_secret_value().split(":", 1)) if secret else httpx.USE_CLIENT_DEFAULT
    response = await http.post(f"{settings.prefect_api_url}/{path}", json=body, auth=auth)
    return response.raise_for_status().json()


async def find_all(http: httpx.AsyncClient, settings: Settings, path: str, query: Mapping[str, Any]) -> list[Any]:
    """All that Prefect finds with this query, page by page.

    Raises:
        ConfigurationError, httpx.HTTPError: As `post`.
    """

    async def find(**page: int) -> list[Any]:
        found: list[Any] = await post(http, settings, path, {**query, **page})
        return found

    return await read_pages(find)


async def read_pages(read: Callable[..., Awaitable[list[T]]], *, page: int = PAGE, **filters: Any) -> list[T]:
    """All pages of what `read` finds; it takes `limit` and `offset`, as the methods of Prefect's client do."""
    found: list[T] = []
    while some := await read(**filters, limit=page, offset=len(found)):
        found += some
        if len(some) < page:
            break
    return found


def paused_jobs(deployments: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of the jobs with a schedule that an operator has paused, in order: none of their runs is scheduled."""
    return sorted(each["name"] for each in deployments if each["schedules"] and not is_active(each))


def is_active(deployment: Mapping[str, Any]) -> bool:
    """Whether an operator lets the deployment run by itself: it is not paused, nor are all its schedules."""
    schedules = deployment["schedules"]
    return not deployment["paused"] and (not schedules or any(each["active"] for each in schedules))


async def start_run(
    http: httpx.AsyncClient, settings: Settings, job: str, parameters: Mapping[str, Any], idempotency_key: str
) -> None:
    """Let a worker start the job as soon as it can; a second call with the same key starts no second run.

    Raises:
        ConfigurationError: PREFECT_API_URL is not set, or Prefect has no such job.
        httpx.HTTPError: As `post`.
    """
    query = {"deployments": {"name": {"any_": [job]}}, "limit": 1}
    found = await post(http, settings, "deployments/filter", query)
    if not found:
        raise ConfigurationError(f"Prefect has no job {job}: deploy the jobs (docs/deploying.md)")
    body = {"state": {"type": "SCHEDULED"}, "parameters": dict(parameters), "idempotency_key": idempotency_key}
    await post(http, settings, f"deployments/{found[0]['id']}/create_flow_run", body)
