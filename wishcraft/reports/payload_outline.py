"""Outline of a Shopify payload: names of its fields, and values that are not personal data. Pure."""

import re
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any, Final, NamedTuple

import orjson

MOST_FIELDS: Final = 300
"""Fields that are shown of a payload."""
_DEEPEST: Final = 12
_FIELD: Final = re.compile(r"[a-z][a-z0-9_]{0,59}")
_NUMBERS: Final = frozenset({"quantity", "current_quantity", "fulfillable_quantity", "delta", "available"})
_WORDS: Final = frozenset(
    {"financial_status", "fulfillment_status", "status", "cancel_reason", "currency", "presentment_currency"}
)
_WORD: Final = re.compile(r"[A-Za-z_]{1,30}")
_GID: Final = re.compile(r"gid://shopify/[A-Za-z]{1,40}/\d{1,20}")
_TYPES: Final = {bool: "boolean", int: "number", float: "number", str: "text"}


class OutlinedField(NamedTuple):
    """A field of a payload."""

    path: str
    """Such as `line_items[0].variant_id`; a name that no field of Shopify's has is `…`."""
    value: str
    """An id, a number of pieces, a time or a status; of any other value, only its type."""


def outline(payload: bytes) -> list[OutlinedField]:
    """The first `MOST_FIELDS` fields, and whether there are more; one that says what is wrong if it is not JSON."""
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return [OutlinedField("", f"not JSON: {len(payload):,} bytes")]
    fields = list(islice(_walk("", "", document, 0), MOST_FIELDS + 1))
    if len(fields) > MOST_FIELDS:
        fields[MOST_FIELDS:] = [OutlinedField("…", "more fields")]
    return fields


def _walk(path: str, name: str, value: Any, depth: int) -> Iterator[OutlinedField]:
    children: list[tuple[str, str, Any]] = []
    if isinstance(value, dict):
        for key, child in value.items():
            shown = key if _FIELD.fullmatch(key) else "…"
            children.append((f"{path}.{shown}".lstrip("."), shown, child))
    elif isinstance(value, list):
        children = [(f"{path}[{index}]", "", child) for index, child in enumerate(value)]
    if not children or depth == _DEEPEST:
        yield OutlinedField(path, _shown(name, value))
        return
    for child_path, child_name, child in children:
        yield from _walk(child_path, child_name, child, depth + 1)


def _shown(name: str, value: Any) -> str:
    if value is None or isinstance(value, dict | list):
        return "null" if value is None else "object" if isinstance(value, dict) else "list"
    is_id = name == "id" or name.endswith("_id")
    if isinstance(value, str):
        is_known = (
            (is_id and _GID.fullmatch(value))
            or (name in _WORDS and _WORD.fullmatch(value))
            or (name.endswith("_at") and _is_time(value))
        )
    else:
        is_known = name == "test" if isinstance(value, bool) else isinstance(value, int) and (is_id or name in _NUMBERS)
    return str(value) if is_known else _TYPES[type(value)]


def _is_time(value: str) -> bool:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True
