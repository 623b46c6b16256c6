"""Creating, changing and archiving registries, on behalf of their registrants."""

import hmac
from http import HTTPStatus
from typing import Annotated, Any, Final, NamedTuple

from fastapi import APIRouter, Depends, Header, Request, Response

from api.auth.dependencies import AppStateDep, Identified, OriginDep, Reader
from api.problems import ALWAYS, ProblemError, documented
from api.routes.registries import ONE, Ref, answer_one, no_such_registry
from api.schemas.requests import ChangedRegistry, NewRegistry, Person
from api.state import AppState
from wishcraft.domain.callers import Caller
from wishcraft.services.registries.lifecycle import Draft, archive_registry, create_registry, update_registry
from wishcraft.services.registries.write import ChangeRequest
from wishcraft.store.audit_log import Origin
from wishcraft.store.idempotency import IdempotencyKey

router: Final = APIRouter(tags=["registries"])

_OF_PERSON: Final = {"first_name": "customer_first_name", "last_name": "customer_last_name", "email": "customer_email"}
CHANGED: Final = documented(
    *ALWAYS,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.PRECONDITION_FAILED,
    HTTPStatus.PRECONDITION_REQUIRED,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
)
CREATED: Final[dict[int | str, dict[str, Any]]] = {
    **documented(*ALWAYS, HTTPStatus.CONFLICT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    HTTPStatus.CREATED: {**ONE[HTTPStatus.OK], "description": "The registry as it is now."},
}


async def condition(
    if_match: Annotated[
        str | None, Header(alias="If-Match", description="The ETag with which the registry was read; `*` is any.")
    ] = None,
) -> str:
    """The tag that the caller saw; 428 without one."""
    if if_match is None:
        raise ProblemError(
            HTTPStatus.PRECONDITION_REQUIRED,
            "precondition-required",
            "Send the ETag with which you read the registry in If-Match.",
        )
    return if_match


def claim(key: str | None, caller: Caller, request: Request, body: bytes) -> IdempotencyKey | None:
    """What makes a creation happen once, however often it is sent: the caller's key, and what it was sent with."""
    if key is None:
        return None
    # Keyed, or who reads the table could try access codes against it, which are hashed slowly everywhere else.
    secret = request.app.state.settings.shopify_api_secret.get_secret_value().encode()
    request_hash = hmac.digest(secret, request.url.path.encode() + b"\n" + body, "sha256")
    return IdempotencyKey(caller.shop_id, f"{caller.name}:{caller.customer_id}", key, request_hash)


Condition = Annotated[str, Depends(condition)]
IdempotencyKeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=100,
        pattern=r"^[\x21-\x7e]+$",
        description="Any id, a new one for each thing to create: sent again within a day, nothing more is created.",
    ),
]


async def find_slug(serving: AppStateDep, caller: Reader, ref: Ref) -> str:
    """The slug of the registry in the path; 404 if there can be none."""
    slug = await serving.reader.find_slug(caller.shop_id, ref)
    if slug is None:
        raise no_such_registry()
    return slug


Slug = Annotated[str, Depends(find_slug)]


class RegistryRequest(NamedTuple):
    """Who asks for which registry to be changed, and from where."""

    request: Request
    serving: AppState
    caller: Caller
    slug: str
    origin: Origin

    def to(self, action: str, if_match: str | None) -> ChangeRequest:
        """The change that is asked for, as the journal calls it."""
        return ChangeRequest(self.caller, self.slug, action, if_match, self.origin)

    async def answer(self) -> Response:
        """200 with the registry as it is now."""
        return await answer_one(self.request, self.serving, self.caller, self.slug)


async def ask(
    request: Request, serving: AppStateDep, caller: Identified, slug: Slug, origin: OriginDep
) -> RegistryRequest:
    """What each change of a registry begins with."""
    return RegistryRequest(request, serving, caller, slug, origin)


RegistryRequestDep = Annotated[RegistryRequest, Depends(ask)]


@router.post(
    "/api/registries",
    summary="Create a registry",
    status_code=HTTPStatus.CREATED,
    response_class=Response,
    responses=CREATED,
)
async def create(
    request: Request,
    serving: AppStateDep,
    caller: Reader,
    origin: OriginDep,
    sent: NewRegistry,
    idempotency_key: IdempotencyKeyHeader = None,
) -> Response:
    """It belongs to the customer who is logged in, or whom the server names. Its slug says its title, and more."""
    values = sent.model_dump(exclude={"registrant", "access_code"}) | _columns(sent.registrant)
    made = claim(idempotency_key, caller, request, sent.model_dump_json().encode())
    draft = Draft(values, sent.access_code)
    slug = await create_registry(serving.resources, caller, draft, key=made, origin=origin)
    return await answer_created(request, serving, caller, slug)


@router.patch(
    "/api/registries/{ref}",
    summary="Change a registry",
    response_class=Response,
    responses={**ONE, **CHANGED},
)
async def change(asked: RegistryRequestDep, if_match: Condition, sent: ChangedRegistry) -> Response:
    """What is not named stays as it is. A new access code ends what the old one opened."""
    values = {name: value for name, value in sent.named().items() if name not in {"registrant", "access_code"}}
    if sent.registrant:
        values |= _columns(sent.registrant)
    doing = asked.to("registry.changed", if_match)
    await update_registry(asked.serving.resources, doing, Draft(values, sent.access_code))
    return await asked.answer()


@router.delete(
    "/api/registries/{ref}",
    summary="Archive a registry",
    status_code=HTTPStatus.NO_CONTENT,
    responses=CHANGED,
)
async def archive(asked: RegistryRequestDep, if_match: Condition) -> None:
    """Nobody but its registrant sees it from then on. Nothing is deleted: to change its `status` brings it back."""
    await archive_registry(asked.serving.resources, asked.to("registry.archived", if_match))


async def answer_created(request: Request, serving: AppState, caller: Caller, slug: str) -> Response:
    """201 with the registry as it is now."""
    answer = await answer_one(request, serving, caller, slug)
    answer.status_code = HTTPStatus.CREATED
    answer.headers["Location"] = f"/api/registries/{slug}"
    return answer


def _columns(person: Person) -> dict[str, Any]:
    return {_OF_PERSON[name]: value for name, value in person.model_dump().items()}
