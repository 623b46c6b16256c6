"""Routes of a shop's administrator: API keys and usage."""

from dataclasses import asdict
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Path, Response

from api.auth.dependencies import Administrator, AppStateDep, OriginDep
from api.problems import COMMON, WITH_BODY, documented, unavailable
from api.schemas.requests import NewKey, Rotation
from api.schemas.responses import KeyIssued, KeyList, UsageAnswer
from wishcraft.errors import CacheUnavailable
from wishcraft.services.shops.api_keys import Issued, create_key, list_keys, revoke_key, rotate_key
from wishcraft.store import shops
from wishcraft.store.audit_log import Actor

router: Final = APIRouter(prefix="/api/admin", tags=["admin"])

Prefix = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$", description="The API key's prefix.")]
_NO_STORE: Final = {"Cache-Control": "no-store"}


@router.get("/keys", summary="List the shop's API keys", response_model=KeyList, responses=documented(*COMMON))
async def list_all(app_state: AppStateDep, caller: Administrator) -> dict[str, object]:
    """All API keys of the shop, newest first, including revoked ones."""
    return {"keys": [key._asdict() for key in await list_keys(app_state.resources.db, caller.shop_id)]}


@router.post(
    "/keys",
    summary="Create an API key",
    status_code=HTTPStatus.CREATED,
    response_model=KeyIssued,
    responses=documented(*COMMON, *WITH_BODY),
)
async def create(
    response: Response, app_state: AppStateDep, caller: Administrator, origin: OriginDep, body: NewKey
) -> dict[str, object]:
    """The response has the key itself, which is not shown again."""
    response.headers.update(_NO_STORE)
    scopes, networks = sorted(set(body.scopes)), body.ip_allow_list
    actor = Actor(caller.shop_id, caller.name, origin)
    return _issued(
        await create_key(app_state.resources.db, actor, body.name, scopes, ip_allow_list=networks, days=body.days)
    )


@router.post(
    "/keys/{prefix}/rotate",
    summary="Replace an API key",
    status_code=HTTPStatus.CREATED,
    response_model=KeyIssued,
    responses=documented(*COMMON, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, *WITH_BODY),
)
async def rotate(
    response: Response,
    app_state: AppStateDep,
    caller: Administrator,
    origin: OriginDep,
    prefix: Prefix,
    body: Rotation | None = None,
) -> dict[str, object]:
    """Creates a key with the same name, scopes and networks. The old key stays valid for `grace_hours`.

    The response has the new key itself, which is not shown again.
    """
    response.headers.update(_NO_STORE)
    grace = timedelta(hours=(body or Rotation()).grace_hours)
    return _issued(await rotate_key(app_state.resources.db, Actor(caller.shop_id, caller.name, origin), prefix, grace))


@router.delete(
    "/keys/{prefix}",
    summary="Revoke an API key",
    status_code=HTTPStatus.NO_CONTENT,
    responses=documented(*COMMON, HTTPStatus.NOT_FOUND),
)
async def revoke(app_state: AppStateDep, caller: Administrator, origin: OriginDep, prefix: Prefix) -> None:
    """Every process refuses the key within 30 seconds."""
    await revoke_key(app_state.resources.db, Actor(caller.shop_id, caller.name, origin), prefix)


@router.get("/usage", summary="Get the shop's usage", response_model=UsageAnswer, responses=documented(*COMMON))
async def usage(app_state: AppStateDep, caller: Administrator) -> dict[str, int]:
    """Reads, evictions, and how much of its quota the shop's cache entries use."""
    async with app_state.resources.db.autocommit() as session:
        settings = await shops.find_settings(session, caller.shop_id)
    try:
        used = (await app_state.resources.usage.read([caller.shop_id]))[caller.shop_id]
    except CacheUnavailable:
        raise unavailable("Redis, which has the counters, did not answer. Try again later.") from None
    return asdict(used) | {"quota_entries": settings.cache_quota_entries, "quota_bytes": settings.cache_quota_bytes}


def _issued(issued: Issued) -> dict[str, object]:
    return issued.facts._asdict() | {"key": issued.key}
