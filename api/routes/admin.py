"""What a shop's admin does: its API keys, and how much it uses the service."""

from dataclasses import asdict
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Path, Response

from api.auth.dependencies import Administrator, AppStateDep, OriginDep
from api.problems import ALWAYS, documented, unavailable
from api.schemas.requests import NewKey, Rotation
from api.schemas.responses import KeyIssued, KeyList, UsageAnswer
from wishcraft.domain.callers import Caller
from wishcraft.errors import CacheUnavailable
from wishcraft.services.shops.api_keys import Issued, create_key, list_keys, revoke_key, rotate_key
from wishcraft.store import shops
from wishcraft.store.audit_log import Actor, Origin

router: Final = APIRouter(prefix="/api/admin", tags=["admin"])

Prefix = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$", description="The key's prefix.")]
_NO_STORE: Final = {"Cache-Control": "no-store"}


@router.get("/keys", summary="List the shop's API keys", response_model=KeyList, responses=documented(*ALWAYS))
async def list_all(serving: AppStateDep, caller: Administrator) -> dict[str, object]:
    """The newest first, those that were revoked too."""
    return {"keys": [each._asdict() for each in await list_keys(serving.resources.db, caller.shop_id)]}


@router.post(
    "/keys",
    summary="Create an API key",
    status_code=HTTPStatus.CREATED,
    response_model=KeyIssued,
    responses=documented(*ALWAYS, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
)
async def create(
    response: Response, serving: AppStateDep, caller: Administrator, origin: OriginDep, sent: NewKey
) -> dict[str, object]:
    """The answer holds the key itself, this once."""
    response.headers.update(_NO_STORE)
    scopes, networks = sorted(set(sent.scopes)), sent.ip_allow_list
    actor = _actor(caller, origin)
    return _issued(
        await create_key(serving.resources.db, actor, sent.name, scopes, ip_allow_list=networks, days=sent.days)
    )


@router.post(
    "/keys/{prefix}/rotate",
    summary="Replace an API key by a new one",
    status_code=HTTPStatus.CREATED,
    response_model=KeyIssued,
    responses=documented(*ALWAYS, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
)
async def rotate(
    response: Response,
    serving: AppStateDep,
    caller: Administrator,
    origin: OriginDep,
    prefix: Prefix,
    sent: Rotation | None = None,
) -> dict[str, object]:
    """Both are good until the grace is over. The answer holds the new key, this once."""
    response.headers.update(_NO_STORE)
    grace = timedelta(hours=(sent or Rotation()).grace_hours)
    return _issued(await rotate_key(serving.resources.db, _actor(caller, origin), prefix, grace))


@router.delete(
    "/keys/{prefix}",
    summary="Revoke an API key",
    status_code=HTTPStatus.NO_CONTENT,
    responses=documented(*ALWAYS, HTTPStatus.NOT_FOUND),
)
async def revoke(serving: AppStateDep, caller: Administrator, origin: OriginDep, prefix: Prefix) -> None:
    """Every process refuses it half a minute later at the latest."""
    await revoke_key(serving.resources.db, _actor(caller, origin), prefix)


@router.get("/usage", summary="See how much the shop uses", response_model=UsageAnswer, responses=documented(*ALWAYS))
async def usage(serving: AppStateDep, caller: Administrator) -> dict[str, int]:
    """Reads, evictions, and what the shop's entries take of its quota."""
    async with serving.resources.db.autocommit() as session:
        settings = await shops.find_settings(session, caller.shop_id)
    try:
        used = (await serving.resources.usage.read([caller.shop_id]))[caller.shop_id]
    except CacheUnavailable:
        raise unavailable("Redis, which keeps the counters, is away; try again soon.") from None
    return asdict(used) | {"quota_entries": settings.cache_quota_entries, "quota_bytes": settings.cache_quota_bytes}


def _actor(caller: Caller, origin: Origin) -> Actor:
    return Actor(caller.shop_id, caller.name, origin)


def _issued(issued: Issued) -> dict[str, object]:
    return issued.facts._asdict() | {"key": issued.key}
