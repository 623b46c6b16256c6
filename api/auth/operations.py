"""HTTP Basic with the password of operations, PREFECT_API_AUTH_STRING, for pages that belong to no shop."""

import hmac
from binascii import Error, a2b_base64
from hashlib import sha256
from typing import Annotated

from fastapi import Request, Security
from fastapi.openapi.models import HTTPBase
from fastapi.security.base import SecurityBase

from api.auth.dependencies import AppStateDep, too_many_invalid
from api.problems import not_found, unauthorized


class OperationsPassword(SecurityBase):
    """Reads `user:password` from the header Authorization; None without HTTP Basic, or if it is malformed."""

    def __init__(self) -> None:
        """The security scheme that OpenAPI documents: HTTP Basic."""
        self.scheme_name = "OperationsPassword"
        self.model = HTTPBase(
            scheme="basic", description="User and password of Prefect's UI, as PREFECT_API_AUTH_STRING has them."
        )

    async def __call__(self, request: Request) -> bytes | None:
        """The decoded `user:password` of the request; None without HTTP Basic, or if it is malformed."""
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        try:
            return a2b_base64(value.strip(), strict_mode=True) if scheme.lower() == "basic" else None
        except (Error, ValueError):
            return None


async def require_operations_password(
    request: Request, app_state: AppStateDep, sent: Annotated[bytes | None, Security(OperationsPassword())]
) -> None:
    """404 if the setting is empty, 401 without the password, and 429 after many wrong credentials from an address."""
    expected = app_state.settings.prefect_api_auth_string
    if not expected or not expected.get_secret_value():
        raise not_found("PREFECT_API_AUTH_STRING is not set. Set it to open the files.")
    refusals = app_state.authenticator.may_try(request.scope)
    # Hashed, so that the time to compare does not depend on their lengths.
    digests = [sha256(each).digest() for each in (sent or b"", expected.get_secret_value().encode())]
    if refusals.allowed and hmac.compare_digest(*digests):
        return
    if sent is not None:
        refusals = app_state.authenticator.count_refusal(request.scope)
    if not refusals.allowed:
        raise too_many_invalid(refusals.reset)
    refused = unauthorized("Send the user and password of the Prefect UI with HTTP Basic.")
    refused.headers = {"WWW-Authenticate": 'Basic realm="WishCraft", charset="UTF-8"'}
    raise refused
