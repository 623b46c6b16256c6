"""Response headers as OpenAPI describes them, each declared once."""

from typing import Any, Final

Header = dict[str, Any]


def _header(description: str, example: object, **schema: object) -> Header:
    return {"description": description, "schema": {"type": "string", **schema}, "example": example}


ETAG: Final = _header("The tag of this answer, for `If-None-Match` and `If-Match`.", '"1-3b266ee5d40ce27a"')
X_CACHE: Final = _header(
    "Where the answer came from: Redis (`hit`), an entry past its soft expiry (`stale`), or PostgreSQL or Shopify"
    " (`miss`; `bypass` without Redis).",
    "hit",
    enum=["hit", "stale", "miss", "bypass"],
)
LOCATION: Final = _header("The path of the registry.", "/api/registries/emma-hugos-wedding-k3j9x2mqpa")
RETRY_AFTER: Final = _header("Seconds to wait before the next try.", "5", pattern=r"^[0-9]+$")
WWW_AUTHENTICATE: Final = _header("The way to authenticate.", 'ApiKey header="X-API-Key"')
