"""Routes that create, change and delete registries, on behalf of their registrants."""

from http import HTTPStatus
from typing import Annotated, Any, Final, NamedTuple

from fastapi import APIRouter, Body, Depends, Header, Request, Response

from api.auth.dependencies import NAMES_CUSTOMER, AuthenticatedRoute, Reader, find_origin
from api.problems import COMMON, WITH_BODY, ProblemError, documented, no_such_registry
from api.routes.registries import ONE, Ref, answer_one, respond
from api.schemas.examples import CHANGED_REGISTRIES, NEW_REGISTRIES
from api.schemas.headers import LOCATION
from api.schemas.requests import ChangedRegistry, NewRegistry, Person
from api.state import AppState
from wishcraft.cache.entries import Entry
from wishcraft.cache.registries import CacheResult, CacheState
from wishcraft.domain.callers import Caller
from wishcraft.domain.text_forms import VISIBLE_ASCII
from wishcraft.services.registries.lifecycle import Draft, create_registry, delete_registry, update_registry
from wishcraft.services.registries.write import ChangeRequest
from wishcraft.shopify.signatures import sign
from wishcraft.store.idempotency import IdempotencyKey

router: Final = APIRouter(tags=["registries"], route_class=AuthenticatedRoute)

_PERSON_COLUMNS: Final = {
    "first_name": "customer_first_name",
    "last_name": "customer_last_name",
    "email": "customer_email",
}
CHANGED: Final = documented(
    *COMMON,
    "not-found",
    "conflict",
    "changed-since",
    "precondition-required",
    *WITH_BODY,
)
CREATED: Final[dict[int | str, dict[str, Any]]] = {
    **documented(*COMMON, "conflict", "limit-reached", *WITH_BODY),
    HTTPStatus.CREATED: {
        **ONE[HTTPStatus.OK],
        "description": "The current registry.",
        "headers": {**ONE[HTTPStatus.OK]["headers"], "Location": LOCATION},
    },
}


async def check_precondition(
    request: Request,
    _if_match: Annotated[
        str | None,
        Header(alias="If-Match", examples=["*"], description="The ETag that the caller last read; `*` matches any."),
    ] = None,
) -> str:
    """The value of `If-Match`; 428 without one (RFC 6585). The write itself compares it with the version."""
    lines = request.headers.getlist("if-match")
    if not lines:
        raise ProblemError("precondition-required", "If-Match is missing. Send the ETag of what you read.")
    return ", ".join(lines)


IfMatch = Annotated[str, Depends(check_precondition)]
IdempotencyKeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=100,
        pattern=VISIBLE_ASCII,
        examples=["5f0d2c1e-8a5b-4b0e-9a43-0d6c7c1f6a11"],
        description="Any id, new for each creation. Repeating the request within a day creates nothing more.",
    ),
]


class RegistryRequest(NamedTuple):
    """A request about one registry."""

    request: Request
    app_state: AppState
    caller: Caller
    slug: str

    def as_change(self, action: str, if_match: str | None) -> ChangeRequest:
        """The change, with its name in the audit log."""
        origin = find_origin(self.request, self.app_state, is_signed=self.caller.is_from_storefront)
        return ChangeRequest(self.caller, self.slug, action, if_match, origin)

    async def answer(self, entry: Entry | None) -> Response:
        """200 with the current registry: the registrant's entry of the change, or else what a read finds."""
        if entry is None:
            return await answer_one(self.request, self.app_state, self.caller, self.slug)
        return respond(self.request, self.app_state, self.caller, self.slug, CacheResult(entry, CacheState.HIT))

    async def answer_created(self, entry: Entry | None) -> Response:
        """201 with the current registry."""
        answer = await self.answer(entry)
        answer.status_code = HTTPStatus.CREATED
        answer.headers["Location"] = f"/api/registries/{self.slug}"
        return answer


async def get_registry_request(request: Request, caller: Reader, ref: Ref) -> RegistryRequest:
    """The request; 404 if the shop has no such registry, or its id is not for the caller to use."""
    app_state: AppState = request.app.state.app_state
    slug = await app_state.reader.find_slug(caller, ref)
    if slug is None:
        raise no_such_registry()
    return RegistryRequest(request, app_state, caller, slug)


RegistryRequestDep = Annotated[RegistryRequest, Depends(get_registry_request)]


def make_key(key: str | None, caller: Caller, request: Request, body: str) -> IdempotencyKey | None:
    """The idempotency key of a creation, scoped by sender and customer, and bound to the request's path and body."""
    if key is None:
        return None
    # HMAC, not a plain hash: a reader of the table could otherwise guess access codes, which argon2 protects elsewhere.
    secret = request.app.state.settings.shopify_api_secret.get_secret_value()
    request_hash = bytes.fromhex(sign(f"{request.scope['path']}\n{body}", secret))
    sender = "server" if caller.is_server else caller.name  # one that repeats a request may have a new API key by now
    return IdempotencyKey(caller.shop_id, f"{sender}:{caller.customer_id}", key, request_hash)


@router.post(
    "/api/registries",
    summary="Create a registry",
    status_code=HTTPStatus.CREATED,
    response_class=Response,
    responses=CREATED,
    openapi_extra=NAMES_CUSTOMER,
)
async def create(
    request: Request,
    caller: Reader,
    body: Annotated[NewRegistry, Body(openapi_examples=NEW_REGISTRIES)],
    idempotency_key: IdempotencyKeyHeader = None,
) -> Response:
    """The registry belongs to the logged-in customer, or to the one in `X-Customer-Id`.

    Its slug is made of the title and a random suffix.
    """
    app_state: AppState = request.app.state.app_state
    values = body.model_dump(exclude={"registrant", "access_code"}) | _columns(body.registrant)
    key = make_key(idempotency_key, caller, request, body.model_dump_json())
    draft = Draft(values, body.access_code)
    origin = find_origin(request, app_state, is_signed=caller.is_from_storefront)
    slug, entry = await create_registry(app_state.resources, caller, draft, key=key, origin=origin)
    return await RegistryRequest(request, app_state, caller, slug).answer_created(entry)


@router.patch(
    "/api/registries/{ref}",
    summary="Change a registry",
    response_class=Response,
    responses={**ONE, **CHANGED, **documented("conflict", "limit-reached")},
    openapi_extra=NAMES_CUSTOMER,
)
async def change(
    registry_request: RegistryRequestDep,
    if_match: IfMatch,
    body: Annotated[ChangedRegistry, Body(openapi_examples=CHANGED_REGISTRIES)],
) -> Response:
    """Fields that are left out keep their values; if none has a new one, the ETag stays. A new access code ends the
    grants of the old one.

    The `status` `archived` hides the registry from all but its registrant; another `status` restores it.
    """
    values = body.model_dump(exclude_unset=True, exclude={"registrant", "access_code"})
    values |= {f"event_{name}": value for name, value in values.pop("event", {}).items()}
    if "registrant" in body.model_fields_set:
        values |= _columns(body.registrant)
    registry_change = registry_request.as_change("registry.changed", if_match)
    draft = Draft(values, body.access_code)
    return await registry_request.answer(
        await update_registry(registry_request.app_state.resources, registry_change, draft)
    )


@router.delete(
    "/api/registries/{ref}",
    summary="Delete a registry",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    response_description="The registry is deleted.",
    responses=CHANGED,
    openapi_extra=NAMES_CUSTOMER,
)
async def delete(registry_request: RegistryRequestDep, if_match: IfMatch) -> Response:
    """Delete the registry for good, with its items, invitations and statistics. To hide it, change its `status`.

    Of its purchases, quantity, price, status and order stay, without names.
    """
    await delete_registry(
        registry_request.app_state.resources, registry_request.as_change("registry.deleted", if_match)
    )
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _columns(person: Person) -> dict[str, Any]:
    return {_PERSON_COLUMNS[name]: value for name, value in person.model_dump().items()}
