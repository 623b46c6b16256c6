"""The kinds of problems that the API answers with: status, meaning, and what the client should do.

`api.problems` answers with no other kind; OpenAPI and the table in docs/api.md are made from this one.
"""

from http import HTTPStatus
from typing import Final, NamedTuple


class ProblemKind(NamedTuple):
    """A kind of problem. Its name is the last part of the problem's `type`, and never changes."""

    status: HTTPStatus
    meaning: str
    advice: str
    """Advice for the client."""


KINDS: Final = {
    "bad-request": ProblemKind(
        HTTPStatus.BAD_REQUEST, "the request is not valid HTTP, or a body is incomplete", "Correct the client."
    ),
    "unauthorized": ProblemKind(
        HTTPStatus.UNAUTHORIZED, "there are no valid credentials", "Send a valid API key, signed query or ID token."
    ),
    "shop-not-installed": ProblemKind(
        HTTPStatus.UNAUTHORIZED,
        "the credentials are valid, and their shop has not installed the app, or no longer",
        "Open the app in the shop's admin.",
    ),
    "not-allowed": ProblemKind(
        HTTPStatus.FORBIDDEN,
        "the caller may not do this",
        "Use a key with the scope that `detail` names, or act for the registrant.",
    ),
    "access-code-required": ProblemKind(
        HTTPStatus.FORBIDDEN,
        "the registry must be unlocked first",
        "Ask the guest for the access code, POST it to `/unlock`, and send the grant.",
    ),
    "wrong-access-code": ProblemKind(
        HTTPStatus.FORBIDDEN, "the access code is not the registry's", "Let the guest type it again."
    ),
    "not-found": ProblemKind(
        HTTPStatus.NOT_FOUND,
        "it does not exist, or the caller may not see it",
        "Check slug or id, and whose customer the request names.",
    ),
    "method-not-allowed": ProblemKind(
        HTTPStatus.METHOD_NOT_ALLOWED, "the path has other methods", "Use one that `Allow` names."
    ),
    "request-timeout": ProblemKind(
        HTTPStatus.REQUEST_TIMEOUT, "the request arrived too slowly", "Send it again, on a new connection."
    ),
    "conflict": ProblemKind(
        HTTPStatus.CONFLICT,
        "it contradicts the current state, for example a reused `Idempotency-Key`",
        "Do what `detail` says; the same request fails again.",
    ),
    "limit-reached": ProblemKind(
        HTTPStatus.CONFLICT,
        "the shop or the customer has as many as allowed, for example 50 registries of one customer",
        "Archive or delete one first.",
    ),
    "changed-since": ProblemKind(
        HTTPStatus.PRECONDITION_FAILED,
        "the registry has changed since the `ETag` in `If-Match`",
        "Read it again, and repeat the change with the new `ETag`.",
    ),
    "content-too-large": ProblemKind(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is larger than 64 KiB", "Send less at once."
    ),
    "unsupported-media-type": ProblemKind(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "the body is compressed, or is not JSON in UTF-8, or `Content-Type` does not say so",
        "Send JSON as it is, with `Content-Type: application/json`.",
    ),
    "misdirected-request": ProblemKind(
        HTTPStatus.MISDIRECTED_REQUEST,
        "a page of the local stack was opened by another name than this machine's",
        "Open it as 127.0.0.1 or localhost.",
    ),
    "invalid-request": ProblemKind(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "a parameter or field is missing, misspelt or out of range",
        "Correct the values that `errors` names.",
    ),
    "precondition-required": ProblemKind(
        HTTPStatus.PRECONDITION_REQUIRED, "`If-Match` is missing", "Send the `ETag` of what was read."
    ),
    "too-many-requests": ProblemKind(
        HTTPStatus.TOO_MANY_REQUESTS,
        "the rate limit is reached, invalid credentials were sent too often, too many products that were not known"
        " were asked for, or too many search the shop at this moment",
        "Wait for `Retry-After` seconds.",
    ),
    "too-many-tries": ProblemKind(
        HTTPStatus.TOO_MANY_REQUESTS,
        "the access code was tried too often, or too soon after a wrong one",
        "Wait for `Retry-After` seconds, then ask the guest again.",
    ),
    "request-header-fields-too-large": ProblemKind(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "the head of the request is over 32 KiB or has over 100 headers",
        "Send fewer headers.",
    ),
    "internal": ProblemKind(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "a fault in the code, which was logged",
        "Report it with the `X-Request-Id`.",
    ),
    "unavailable": ProblemKind(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "a store or Shopify did not answer in time, or Shopify had not answered a moment before",
        "Send it again after `Retry-After` seconds.",
    ),
}  # fmt: skip
"""In the order of their statuses; of several with one status, the usual one comes first."""
USUAL: Final = {kind.status: name for name, kind in reversed(KINDS.items())}
"""The kind of an error with a known status and nothing else."""


def kinds_table() -> str:
    """All kinds as a Markdown table."""
    rows = [
        f"| {kind.status.value} | `{name}` | {kind.meaning} | {kind.advice} |"
        for name, kind in sorted(KINDS.items(), key=lambda each: each[1].status)
    ]
    return "\n".join(["| status | kind | meaning | what to do |", "|---|---|---|---|", *rows])
