"""FastAPI dependencies: application state, authentication, rate limit and scopes.

Each is a coroutine, even if it awaits nothing: FastAPI runs a plain function in a thread.
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Request, Response, Security
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, APIKeyQuery, HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BeforeValidator
from starlette.types import Scope as Connection

from api.auth.authenticator import READS, Authenticator
from api.binding import bind_route
from api.json_bodies import require_json
from api.middleware.request import ADDED_HEADERS
from api.problems import ProblemError, forbidden, not_installed, too_many, unauthorized
from api.schemas.demo import DEMO_CUSTOMER
from api.state import AppState
from wishcraft.domain.api_keys import KEY_BEGINS
from wishcraft.domain.callers import Caller, Scope
from wishcraft.domain.networks import UNKNOWN, network_of
from wishcraft.domain.text_forms import CUSTOMER_ID
from wishcraft.errors import UnknownShop
from wishcraft.observability.context import bind
from wishcraft.observability.sentry import set_user
from wishcraft.shopify.ids import from_global
from wishcraft.store import api_keys
from wishcraft.store.audit_log import Origin

_KEY: Final = APIKeyHeader(
    name="X-API-Key", scheme_name="ApiKey", description="A server's API key. It belongs to one shop.", auto_error=False
)
_SIGNATURE: Final = APIKeyQuery(
    name="signature",
    scheme_name="AppProxy",
    description="Shopify's app proxy adds the signature and signed parameters such as `shop` and `timestamp`.",
    auto_error=False,
)
_ID_TOKEN: Final = HTTPBearer(
    scheme_name="ShopifyIdToken",
    description="The ID token that App Bridge issues to the embedded admin.",
    auto_error=False,
)
ASK_FOR_NEW_TOKEN: Final = {"X-Shopify-Retry-Invalid-Session-Request": "1"}
"""App Bridge then sends the request again, with a new ID token."""
NO_CREDENTIALS: Final = "Send an API key in X-API-Key, or call through Shopify's app proxy."
UNKNOWN_KEY: Final = (
    "The API key is unknown, revoked, expired or not allowed from this address. Send another one in X-API-Key:"
    " the shop's administrator creates keys."
)
UNSIGNED: Final = (
    "The app proxy's signature is invalid or too old. Send the request to the shop's domain again, where Shopify signs"
    " it."
)
UNKNOWN_TOKEN: Final = "The ID token is invalid or has expired. Send a new one, as App Bridge issues it."  # noqa: S105
_KEY_AS_TOKEN: Final = "This is an API key and not an ID token. Send it in X-API-Key, without Authorization."  # noqa: S105
IdToken = Annotated[HTTPAuthorizationCredentials | None, Security(_ID_TOKEN)]
_MAX_USER_AGENT_LENGTH: Final = 200
IDENTIFIED: Final = "wishcraft.identified"
"""Where the scope of a request has its caller once it was authenticated and counted for the rate limit."""


_CUSTOMER_HEADER: Final = "X-Customer-Id"
_LARGEST_CUSTOMER_ID: Final = 2**53


def _customer_parameter(**more: object) -> dict[str, Any]:
    parameter = {
        "name": _CUSTOMER_HEADER,
        "in": "header",
        "required": False,
        "description": "The customer that a server with scope `write` acts for, as a number or"
        " `gid://shopify/Customer/1`.",
        "schema": {
            "type": ["integer", "string"],
            "minimum": 1,
            "maximum": _LARGEST_CUSTOMER_ID,
            "pattern": CUSTOMER_ID,
            "examples": [DEMO_CUSTOMER],
        },
    }
    return {"parameters": [parameter | more]}


MAY_NAME_CUSTOMER: Final = _customer_parameter()
"""`openapi_extra` of an operation that guests may use too. A key without the scope `write` may name no customer."""
NAMES_CUSTOMER: Final = _customer_parameter(example=DEMO_CUSTOMER)
"""`openapi_extra` of an operation that needs a customer."""


def _customer_id(value: object) -> object:
    return from_global("Customer", value) if isinstance(value, str) and value.startswith("gid:") else value


CustomerId = Annotated[
    int | None,
    BeforeValidator(_customer_id),
    Header(alias=_CUSTOMER_HEADER, ge=1, le=_LARGEST_CUSTOMER_ID, include_in_schema=False),
]
"""Every authenticated request may have it; the operations that use it document it."""


async def get_app_state(request: Request) -> AppState:
    """The application's state."""
    app_state: AppState = request.app.state.app_state
    return app_state


AppStateDep = Annotated[AppState, Depends(get_app_state)]


async def identify(
    request: Request,
    key: Annotated[str | None, Security(_KEY)],
    signature: Annotated[str | None, Security(_SIGNATURE)],
    token: Annotated[object | None, Security(_ID_TOKEN)],
    customer_id: CustomerId = None,
) -> Caller:
    """The caller, within its rate limit: 401 without valid credentials, 429 over the limit.

    An ID token takes precedence over an API key, and an API key over a signature.
    """
    caller: Caller | None = request.scope.get(IDENTIFIED)
    if caller is None:
        caller = await _authenticate(request, key, signature, token)
    if customer_id is not None and caller.customer_id is None:  # Shopify alone names a storefront's customer
        if Scope.WRITE not in caller.scopes:
            raise forbidden("X-Customer-Id needs an API key with scope `write`.")
        caller = replace(caller, customer_id=customer_id)
    bind(shop_id=str(caller.shop_id))
    set_user(caller)
    return caller


async def _authenticate(request: Request, key: str | None, signature: str | None, token: object | None) -> Caller:
    app_state: AppState = request.app.state.app_state
    authenticator, caller, reason = app_state.authenticator, None, ""
    headers: dict[str, str] = {}
    try:
        if token is not None:
            text = str(getattr(token, "credentials", ""))
            reason, headers = (_KEY_AS_TOKEN, {}) if text.startswith(KEY_BEGINS) else (UNKNOWN_TOKEN, ASK_FOR_NEW_TOKEN)
            caller = await authenticator.by_id_token(text)
        elif key is not None:
            reason = UNKNOWN_KEY
            caller = await authenticator.by_key(key, request.scope)
        elif signature is not None:
            reason = UNSIGNED
            caller = await authenticator.by_signature(request.scope)
        else:
            raise unauthorized(NO_CREDENTIALS)
    except UnknownShop:
        reason = ""
    if caller is None:
        raise invalid_credentials(authenticator, request.scope, reason, headers)
    policy = app_state.server_policy if caller.is_server else app_state.person_policy
    remaining, reset = app_state.resources.limiter.count(policy, caller.name)
    request.scope[ADDED_HEADERS] = [(b"ratelimit", policy.limit_field(remaining, reset).encode())]
    if remaining < 0:
        request.scope[ADDED_HEADERS].append((b"ratelimit-policy", policy.field.encode()))
        raise over_limit(reset)
    return caller


class AuthenticatedRoute(APIRoute):
    """A route that authenticates the caller before the request body is read and parsed."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Build the handler: it authenticates, parses the request, and calls the route's function."""
        handle = super().get_route_handler()
        if not _has_identify(self.dependant):
            return handle
        run, body = bind_route(self), self.body_field

        async def authenticate_first(request: Request) -> Response:
            credentials = (await _KEY(request), await _SIGNATURE(request), await _ID_TOKEN(request))
            request.scope[IDENTIFIED] = await _authenticate(request, *credentials)
            answer = await run(request) if run else None
            if answer is None and body is not None:
                await require_json(request, is_required=bool(body.field_info.is_required()))
            return answer or await handle(request)

        return authenticate_first


def _has_identify(dependant: Dependant) -> bool:
    return dependant.call is identify or any(map(_has_identify, dependant.dependencies))


CallerDep = Annotated[Caller, Depends(identify)]


def find_origin(request: Request, app_state: AppState, *, is_signed: bool = False) -> Origin:
    """Address and user agent of the client, for the audit log: of the one behind Shopify's proxy, if that signed."""
    address = app_state.authenticator.address(request.scope, is_signed=is_signed)
    user_agent = request.headers.get("user-agent", "")[:_MAX_USER_AGENT_LENGTH]
    return Origin(None if address == UNKNOWN else address, user_agent or None)


async def get_origin(request: Request, app_state: AppStateDep, caller: CallerDep) -> Origin:
    """Address and user agent for the audit log, of an authenticated request."""
    return find_origin(request, app_state, is_signed=caller.is_from_storefront)


async def limit_invalid_links(request: Request, app_state: AppStateDep) -> None:
    """429 after many invalid credentials of a client, such as made-up links: each costs a query."""
    verdict = app_state.authenticator.may_try(request.scope)
    if not verdict.allowed:
        raise too_many_invalid(verdict.reset)


async def get_link_origin(request: Request, app_state: AppStateDep) -> Origin:
    """As `find_origin`, for a link of a mail, which does not go through Shopify's proxy."""
    return find_origin(request, app_state)


OriginDep = Annotated[Origin, Depends(get_origin)]
LinkOriginDep = Annotated[Origin, Depends(get_link_origin)]


async def find_senders(request: Request, app_state: AppStateDep, caller: CallerDep) -> list[str]:
    """The identities under which the tries of an access code are counted.

    Of a customer or guest: the address, and the signed query, which others may have seen and sent again with addresses
    that they made up. Of others: their credentials.
    """
    if not caller.is_from_storefront:
        return [caller.name]
    address = network_of(app_state.authenticator.address(request.scope, is_signed=True))
    query = sha256(request.query_params["signature"].encode()).hexdigest()
    return [f"address:{address}", f"query:{query}"]


Senders = Annotated[list[str], Depends(find_senders)]


def over_limit(reset: int) -> ProblemError:
    """429 for a caller over its limit."""
    return too_many("Too many requests. Wait for Retry-After.", reset)


def invalid_credentials(
    authenticator: Authenticator, scope: Connection, reason: str, headers: Mapping[str, str] | None
) -> ProblemError:
    """401 for credentials that are not valid, 429 after many; counts it. Without a reason the app is not installed."""
    refusals = authenticator.count_refusal(scope)
    if not refusals.allowed:
        return too_many_invalid(refusals.reset)
    return unauthorized(reason, headers) if reason else not_installed()


def too_many_invalid(reset: int) -> ProblemError:
    """429 for a client that has sent many invalid credentials."""
    return too_many("Too many requests with invalid credentials. Wait for Retry-After.", reset)


def with_scope(scope: Scope) -> Callable[[Caller], Awaitable[Caller]]:
    """A dependency that returns the caller if it has the scope, and answers 403 otherwise."""

    async def require_scope(caller: CallerDep) -> Caller:
        if scope not in caller.scopes:
            raise forbidden(f"This needs an API key with scope `{scope.value}`.")
        return caller

    return require_scope


Reader = Annotated[Caller, Depends(with_scope(Scope.READ))]


async def require_administrator(
    request: Request, app_state: AppStateDep, caller: Annotated[Caller, Depends(with_scope(Scope.ADMIN))]
) -> Caller:
    """The caller, with scope `admin`: 401 for a write with a key that PostgreSQL has no more, though it is cached."""
    if caller.is_server and request.method not in READS:
        async with app_state.resources.db.autocommit() as session:
            if await api_keys.find_holder(session, caller.name.removeprefix("key:")) is None:
                raise unauthorized(UNKNOWN_KEY)
    return caller


Administrator = Annotated[Caller, Depends(require_administrator)]
