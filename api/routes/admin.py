"""Routes of a shop's administrator: API keys, usage, settings and audit log."""

from dataclasses import asdict
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Path, Query, Response
from pydantic import AfterValidator, StringConstraints

from api.auth.dependencies import Administrator, AppStateDep, AuthenticatedRoute, OriginDep
from api.known_parameters import KnownParameters
from api.problems import COMMON, WITH_BODY, documented, unavailable
from api.routes.registries import Limit
from api.routes.registry_changes import IfMatch
from api.schemas.admin import AuditTrail, KeyIssued, KeyList, SettingsAnswer, UsageAnswer
from api.schemas.examples import CHANGED_SETTINGS, NEW_KEYS
from api.schemas.headers import ETAG
from api.schemas.requests import ChangedSettings, IsoTime, NewKey, Rotation, SuppressedAddress, storable_text
from wishcraft.domain.text_forms import AUDIT_CURSOR, KEY_PREFIX
from wishcraft.domain.times import from_microseconds, to_microseconds
from wishcraft.errors import CacheUnavailable, invalid_parameter
from wishcraft.services.mail.suppressions import lift_address
from wishcraft.services.shops.api_keys import Issued, create_key, list_keys, revoke_key, rotate_key
from wishcraft.services.shops.settings import change_settings, read_settings, settings_etag
from wishcraft.store import audit_log, shops
from wishcraft.store.audit_log import Actor, AuditEntry, AuditFilter
from wishcraft.store.shops import StoredSettings

router: Final = APIRouter(prefix="/api/admin", tags=["admin"], route_class=AuthenticatedRoute)

Prefix = Annotated[str, Path(pattern=KEY_PREFIX, examples=["0123456789ab"], description="The API key's prefix.")]
AuditCursor = Annotated[
    str | None,
    Query(
        pattern=AUDIT_CURSOR,
        examples=["1795858200000000-81"],
        description="`next_cursor` of the previous page, with the same filters.",
    ),
]
AuditText = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(storable_text)]
_SETTINGS: Final[dict[int | str, dict[str, Any]]] = {
    HTTPStatus.OK: {
        "description": "All settings, with their defaults where nothing else was set.",
        "headers": {"ETag": ETAG},
    }
}


@router.get(
    "/keys",
    summary="List the shop's API keys",
    response_description="The keys.",
    response_model=KeyList,
    responses=documented(*COMMON),
)
async def list_all(app_state: AppStateDep, caller: Administrator) -> dict[str, object]:
    """All API keys of the shop, newest first, including revoked ones."""
    return {"keys": [key._asdict() for key in await list_keys(app_state.resources.db, caller.shop_id)]}


@router.post(
    "/keys",
    summary="Create an API key",
    response_description="The new key.",
    status_code=HTTPStatus.CREATED,
    response_model=KeyIssued,
    responses=documented(*COMMON, *WITH_BODY),
)
async def create(
    app_state: AppStateDep,
    caller: Administrator,
    origin: OriginDep,
    body: Annotated[NewKey, Body(openapi_examples=NEW_KEYS)],
) -> dict[str, object]:
    """The response has the key itself, which is not shown again."""
    scopes, networks = sorted(set(body.scopes)), body.ip_allow_list
    actor = Actor(caller.shop_id, caller.name, origin)
    return _issued(
        await create_key(app_state.resources.db, actor, body.name, scopes, ip_allow_list=networks, days=body.days)
    )


@router.post(
    "/keys/{prefix}/rotate",
    summary="Replace an API key",
    response_description="The new key.",
    status_code=HTTPStatus.CREATED,
    response_model=KeyIssued,
    responses=documented(*COMMON, "not-found", "conflict", *WITH_BODY),
)
async def rotate(
    app_state: AppStateDep,
    caller: Administrator,
    origin: OriginDep,
    prefix: Prefix,
    body: Rotation | None = None,
) -> dict[str, object]:
    """Creates a key with the same name, scopes and networks. The old key stays valid for `grace_hours`.

    The response has the new key itself, which is not shown again.
    """
    grace = timedelta(hours=(body or Rotation()).grace_hours)
    return _issued(await rotate_key(app_state.resources.db, Actor(caller.shop_id, caller.name, origin), prefix, grace))


@router.delete(
    "/keys/{prefix}",
    summary="Revoke an API key",
    response_description="The key is revoked.",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    responses=documented(*COMMON, "not-found"),
)
async def revoke(app_state: AppStateDep, caller: Administrator, origin: OriginDep, prefix: Prefix) -> Response:
    """Every process refuses the key within 30 seconds."""
    await revoke_key(app_state.resources.db, Actor(caller.shop_id, caller.name, origin), prefix)
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.get(
    "/usage",
    summary="Get the shop's usage",
    response_description="The usage.",
    response_model=UsageAnswer,
    responses=documented(*COMMON),
)
async def usage(app_state: AppStateDep, caller: Administrator) -> dict[str, int]:
    """Reads, evictions, and how much of its quota the shop's cache entries use."""
    async with app_state.resources.db.autocommit() as session:
        settings = await shops.find_settings(session, caller.shop_id)
    try:
        used = (await app_state.resources.usage.read([caller.shop_id]))[caller.shop_id]
    except CacheUnavailable:
        raise unavailable("Redis, which has the counters, did not answer. Try again later.") from None
    return asdict(used) | {"quota_entries": settings.cache_quota_entries, "quota_bytes": settings.cache_quota_bytes}


@router.get(
    "/settings",
    summary="Get the shop's settings",
    response_model=SettingsAnswer,
    responses={**_SETTINGS, **documented(*COMMON)},
)
async def get_settings(response: Response, app_state: AppStateDep, caller: Administrator) -> SettingsAnswer:
    """The settings that are in use now."""
    return _settings(response, await read_settings(app_state.resources, caller.shop_id))


@router.patch(
    "/settings",
    summary="Change the shop's settings",
    response_model=SettingsAnswer,
    responses={
        **_SETTINGS,
        **documented(
            *COMMON,
            "changed-since",
            "precondition-required",
            *WITH_BODY,
        ),
    },
)
async def patch_settings(
    response: Response,
    app_state: AppStateDep,
    caller: Administrator,
    origin: OriginDep,
    if_match: IfMatch,
    body: Annotated[ChangedSettings, Body(openapi_examples=CHANGED_SETTINGS)],
) -> SettingsAnswer:
    """Settings that are left out keep their values. The change takes effect at once, in all processes, but
    for a new `brand_colour` or `language`, which the registry page has within 30 s.

    After a new `low_stock_threshold` or `share_url`, cached registries show it before the answer, or within seconds
    in very large shops. A lower quota evicts variants from the cache, then the least viewed registries.
    """
    actor = Actor(caller.shop_id, caller.name, origin)
    changes = body.model_dump(exclude_unset=True)
    change = await change_settings(app_state.resources, actor, changes, if_match=if_match)
    await app_state.replace_outdated_entries(caller.shop_id)
    return _settings(response, change.after)


def _settings(response: Response, stored: StoredSettings) -> SettingsAnswer:
    # no-transform: a proxy that compresses makes the tag weak, which `If-Match` does not accept.
    response.headers.update({"Cache-Control": "no-store, no-transform", "ETag": settings_etag(stored)})
    return SettingsAnswer(**stored.settings.model_dump(), effective_share_url=stored.share_template)


@router.post(
    "/suppressions/lift",
    summary="Write to an address again",
    response_description="The shop sends mail to the address again.",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    responses=documented(*COMMON, "not-found", *WITH_BODY),
)
async def lift_suppression(
    app_state: AppStateDep, caller: Administrator, origin: OriginDep, body: SuppressedAddress
) -> Response:
    """Ends the suppression of an address that was unsubscribed, bounced, or whose owner complained.

    Do it when the owner asks for it, or a bounce was an error. Mail that bounces again suppresses it again.
    """
    await lift_address(app_state.resources, Actor(caller.shop_id, caller.name, origin), body.email)
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.get(
    "/audit",
    summary="Read the audit log",
    response_description="A page of the audit log.",
    response_model=AuditTrail,
    responses=documented(*COMMON),
)
async def list_audit_log(
    app_state: AppStateDep,
    caller: Administrator,
    actor: Annotated[AuditText | None, Query(description="Who did it.", examples=["key:0123456789ab"])] = None,
    action: Annotated[AuditText | None, Query(description="What was done.", examples=["registry.changed"])] = None,
    resource: Annotated[
        AuditText | None, Query(description="The kind of what it was done to.", examples=["registry"])
    ] = None,
    resource_id: Annotated[
        AuditText | None,
        Query(description="Needs `resource`: an id belongs to its kind.", examples=["100000001"]),
    ] = None,
    since: Annotated[IsoTime | None, Query(description="First moment.", examples=["2027-06-01T00:00:00Z"])] = None,
    until: Annotated[
        IsoTime | None, Query(description="The moment after the last one.", examples=["2027-07-01T00:00:00Z"])
    ] = None,
    limit: Limit = 20,
    cursor: AuditCursor = None,
    _known: KnownParameters = None,
) -> dict[str, object]:
    """The shop's audit log, newest first. It has personal data: the addresses of the requests."""
    if resource_id is not None and resource is None:
        raise invalid_parameter("resource_id", "needs the resource that it is an id of, such as resource=registry.")
    if since and until and since >= until:
        raise invalid_parameter("since", "is not before until, so that no entry can match.")
    wanted = AuditFilter(actor, action, resource, resource_id, since, until)
    async with app_state.resources.db.autocommit() as session:
        # One more than the limit: if it exists, there is a next page.
        entries = await audit_log.find_entries(session, caller.shop_id, wanted, limit + 1, _position(cursor))
    return {
        "entries": [entry._asdict() for entry in entries[:limit]],
        "next_cursor": _cursor(entries[limit - 1]) if len(entries) > limit else None,
    }


def _cursor(entry: AuditEntry) -> str:
    return f"{to_microseconds(entry.created_at)}-{entry.id}"


def _position(cursor: str | None) -> tuple[datetime, int] | None:
    if cursor is None:
        return None
    microseconds, _, entry_id = cursor.partition("-")
    return from_microseconds(int(microseconds)), int(entry_id)


def _issued(issued: Issued) -> dict[str, object]:
    return issued.facts._asdict() | {"key": issued.key}
