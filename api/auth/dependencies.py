"""Dependencies of the routes: who calls, whether they may, and whether they have not called too often.

All are coroutines, also those that wait for nothing: FastAPI would run a plain function in a thread of its own.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from fastapi import Depends, Header, Request, Security
from fastapi.security import APIKeyHeader, APIKeyQuery, HTTPBearer

from api.problems import forbidden, too_many, unauthorized
from api.representation import limit_header
from api.state import AppState
from wishcraft.domain.callers import Caller, Scope
from wishcraft.domain.networks import is_address
from wishcraft.observability.context import bind
from wishcraft.store.audit_log import Origin

_KEY: Final = APIKeyHeader(
    name="X-API-Key", scheme_name="ApiKey", description="A server's key; it belongs to one shop.", auto_error=False
)
_SIGNATURE: Final = APIKeyQuery(
    name="signature",
    scheme_name="AppProxy",
    description="Shopify signs what comes through the shop's own domain; it adds `shop`, `timestamp` and others.",
    auto_error=False,
)
_ID_TOKEN: Final = HTTPBearer(
    scheme_name="ShopifyIdToken", description="What App Bridge gives to the embedded admin.", auto_error=False
)
_LONGEST_AGENT: Final = 200

CustomerId = Annotated[
    int | None,
    Header(
        alias="X-Customer-Id",
        ge=1,
        le=2**53,
        description="On whose behalf a server with the scope `write`, or the embedded admin, acts.",
    ),
]


async def get_app_state(request: Request) -> AppState:
    """What serves this application."""
    app_state: AppState = request.app.state.app_state
    return app_state


AppStateDep = Annotated[AppState, Depends(get_app_state)]


async def get_origin(request: Request, app_state: AppStateDep) -> Origin:
    """Where the request comes from, for the journal."""
    address = app_state.authenticator.address(request.scope)
    return Origin(
        address if is_address(address) else None, request.headers.get("user-agent", "")[:_LONGEST_AGENT] or None
    )


OriginDep = Annotated[Origin, Depends(get_origin)]


async def identify(
    request: Request,
    app_state: AppStateDep,
    key: Annotated[str | None, Security(_KEY)],
    signature: Annotated[str | None, Security(_SIGNATURE)],
    token: Annotated[object | None, Security(_ID_TOKEN)],
    customer_id: CustomerId = None,
) -> Caller:
    """The caller; 401 if nothing proves one, 429 if they call too often.

    A key that is shown decides, also against a signature; an ID token decides against both.
    """
    callers = app_state.authenticator
    if token is not None:
        caller = await callers.by_id_token(str(getattr(token, "credentials", "")))
        reason = "The ID token is wrong or has expired."
    elif key is not None:
        caller = await callers.by_key(key, request.scope)
        reason = "The API key is unknown, revoked or expired, or not to be used from this address."
    elif signature is not None:
        caller = await callers.by_signature(request.scope)
        reason = "The app-proxy signature is wrong or too old."
    else:
        caller, reason = None, "Show an API key in X-API-Key, or come through Shopify's app proxy."
    if caller is None:
        raise unauthorized(reason)
    bind(shop_id=str(caller.shop_id))
    _limit(request, app_state, caller)
    return _acting_for(caller, customer_id)


def _limit(request: Request, app_state: AppState, caller: Caller) -> None:
    policy, verdict = app_state.limit(caller)
    request.scope["wishcraft.headers"] = [limit_header(policy, verdict)]
    if not verdict.allowed:
        request.scope["wishcraft.headers"].append((b"ratelimit-policy", policy.field.encode()))
        raise too_many("Too many requests: slow down.", verdict.reset)


def _acting_for(caller: Caller, customer_id: int | None) -> Caller:
    if customer_id is None or caller.customer_id is not None:
        return caller  # Shopify says who is logged in; nobody else may
    if Scope.WRITE not in caller.scopes:
        raise forbidden("To act for a customer takes a key with the scope `write`.")
    return caller._replace(customer_id=customer_id)


Identified = Annotated[Caller, Depends(identify)]


def with_scope(scope: Scope) -> Callable[[Caller], Awaitable[Caller]]:
    """A dependency: the caller if they have the scope, else 403."""

    async def check(caller: Identified) -> Caller:
        if scope not in caller.scopes:
            raise forbidden(f"This takes a key with the scope `{scope.value}`.")
        return caller

    return check


Reader = Annotated[Caller, Depends(with_scope(Scope.READ))]
Administrator = Annotated[Caller, Depends(with_scope(Scope.ADMIN))]
