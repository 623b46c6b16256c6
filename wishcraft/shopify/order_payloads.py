"""Payloads of the webhooks `orders/*`, `refunds/create` and `orders/edited`.

https://shopify.dev/docs/api/webhooks has their fields; those that orders lack or have as null are common.
"""

import re
from collections import ChainMap
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeAlias

from wishcraft.domain.analytics_events import VISITOR_ID
from wishcraft.domain.currencies import MAX_AMOUNT
from wishcraft.domain.mail_text import one_line
from wishcraft.domain.orders import (
    ANONYMOUS_PROPERTY,
    ITEM_PROPERTY,
    MESSAGE_PROPERTY,
    NAME_PROPERTY,
    REGISTRY_ATTRIBUTE,
    VISITOR_PROPERTY,
    Adjustment,
    Line,
    OrderSnapshot,
    deleted_order,
)
from wishcraft.domain.registries import MAX_SLUG_LENGTH, PurchaseStatus
from wishcraft.domain.storable_text import storable
from wishcraft.errors import PayloadInvalid
from wishcraft.shopify.values import payload_id, read_id, read_time

_MAX_CLAIM: Final = 200
_MAX_PIECES: Final = 1_000_000
_MAX_NAME: Final = 200
_MAX_TITLE: Final = 500
_MAX_MESSAGE: Final = 1_000
_TRUE: Final = frozenset({"true", "1", "yes", "on"})
_UNPAID: Final = frozenset({"pending", "authorized"})
_NEVER_PAID: Final = frozenset({"voided", "expired"})
"""Authorizations that were given up, or not captured in time: no money comes unless the order changes."""

Object: TypeAlias = Mapping[str, Any]


def read_order(payload: Object) -> OrderSnapshot:
    """The snapshot that an `orders/*` webhook has.

    Raises:
        PayloadInvalid: No id or no `updated_at`, or a number out of range.
    """
    attributes = _pairs(payload.get("note_attributes"))
    of_order = dict(reversed(attributes))
    listed = payload.get("refunds")
    refunds = [_object(each, "refunds") for each in listed] if isinstance(listed, list) else None
    lines = [_object(each, "line_items") for each in _list(payload.get("line_items"))]
    refunded: dict[int, int] = {}
    for refund in refunds or ():
        for line_id, pieces in _refunded(refund):
            refunded[line_id] = refunded.get(line_id, 0) + pieces
    return OrderSnapshot(
        id=payload_id(payload.get("id"), "id"),
        name=_text(payload.get("name"), _MAX_NAME) or "",
        ordered_at=_time(payload.get("created_at")),
        updated_at=_required_time(payload.get("updated_at"), "updated_at"),
        is_test=payload.get("test") is True,
        status=_status(payload),
        item_claims=tuple(
            claim.strip()[:_MAX_CLAIM]
            for name, value in attributes
            if name == ITEM_PROPERTY
            for claim in value.split(",")
            if claim.strip()
        ),
        registry_claim=next((value.strip() for name, value in attributes if name == REGISTRY_ATTRIBUTE), "")[
            :MAX_SLUG_LENGTH
        ],
        purchaser_id=_purchaser_id(payload),
        purchaser_email=_email(payload),
        lines=tuple(_read_line(each, of_order, refunded, _purchaser(payload)) for each in lines),
        refunds=None if refunds is None else frozenset(payload_id(each.get("id"), "refunds.id") for each in refunds),
    )


def read_deletion(payload: Object, deleted_at: datetime) -> OrderSnapshot:
    """The snapshot that an `orders/delete` webhook is, which has the order's id alone.

    Raises:
        PayloadInvalid: No id, or it is an order: the topic is not signed, and another webhook's body is not a deletion.
    """
    if "line_items" in payload:
        raise PayloadInvalid("The payload has the order as it is, not as deleted.")
    return deleted_order(payload_id(payload.get("id"), "id"), deleted_at)


def read_refund(payload: Object) -> Adjustment:
    """The adjustment that a `refunds/create` webhook has.

    Raises:
        PayloadInvalid: No id or no `order_id`, or a number out of range.
    """
    pieces: dict[int, int] = {}
    for line_id, refunded in _refunded(payload):
        pieces[line_id] = pieces.get(line_id, 0) - refunded
    name = f"refund/{payload_id(payload.get('id'), 'id')}"
    return Adjustment(payload_id(payload.get("order_id"), "order_id"), name, _time(payload.get("created_at")), pieces)


def read_edit(payload: Object) -> Adjustment:
    """The adjustment that an `orders/edited` webhook has.

    Raises:
        PayloadInvalid: No `order_edit` with id and `order_id`, or a number out of range.
    """
    edit = _object(payload.get("order_edit"), "order_edit")
    changes = edit.get("line_items")
    pieces: dict[int, int] = {}
    for kind, sign in (("additions", 1), ("removals", -1)):
        for each in _list(changes.get(kind) if isinstance(changes, Mapping) else None):
            line = _object(each, kind)
            line_id, delta = payload_id(line.get("id"), f"{kind}.id"), _pieces(line.get("delta"), f"{kind}.delta")
            pieces[line_id] = pieces.get(line_id, 0) + sign * delta
    name = f"edit/{payload_id(edit.get('id'), 'order_edit.id')}"
    return Adjustment(payload_id(edit.get("order_id"), "order_id"), name, _time(edit.get("committed_at")), pieces)


def _read_line(line: Object, of_order: dict[str, str], refunded: Mapping[int, int], purchaser: str | None) -> Line:
    properties = _pairs(line.get("properties"))
    line_id = payload_id(line.get("id"), "line_items.id")
    ordered = _pieces(line.get("quantity"), "quantity")
    current = line.get("current_quantity")
    left = _pieces(current, "current_quantity") if current is not None else max(0, ordered - refunded.get(line_id, 0))
    variant_id = line.get("variant_id")
    said = ChainMap(dict(reversed(properties)), of_order)  # a line's own come first
    anonymous = said.get(ANONYMOUS_PROPERTY, "").strip().lower() in _TRUE
    name = _text(said.get(NAME_PROPERTY), _MAX_NAME) or purchaser
    return Line(
        id=line_id,
        variant_id=None if variant_id is None else payload_id(variant_id, "variant_id"),
        title=_text(line.get("title"), _MAX_TITLE) or "",
        ordered=ordered,
        left=left,
        unit_price=_price(line),
        claim=next((value.strip() for key, value in properties if key == ITEM_PROPERTY), "")[:_MAX_CLAIM],
        purchaser_name=None if anonymous else name,
        anonymous=anonymous,
        gift_message=_text(said.get(MESSAGE_PROPERTY), _MAX_MESSAGE),
        visitor=_visitor(said.get(VISITOR_PROPERTY, "")),
    )


def _visitor(value: str) -> str | None:
    return value if re.fullmatch(VISITOR_ID, value) else None


def _status(payload: Object) -> PurchaseStatus:
    financial_status = str(payload.get("financial_status"))
    if payload.get("cancelled_at") or financial_status in _NEVER_PAID:
        return PurchaseStatus.CANCELLED
    return PurchaseStatus.PENDING if financial_status in _UNPAID else PurchaseStatus.CONFIRMED


def _refunded(refund: Object) -> Iterator[tuple[int, int]]:
    for each in _list(refund.get("refund_line_items")):
        line = _object(each, "refund_line_items")
        yield (
            payload_id(line.get("line_item_id"), "line_item_id"),
            _pieces(line.get("quantity"), "refund_line_items.quantity"),
        )


def _price(line: Object) -> Decimal:
    """The price in the shop's currency: `price` may be in the buyer's."""
    amounts = line.get("price_set")
    money = amounts.get("shop_money") if isinstance(amounts, Mapping) else None
    value = money.get("amount") if isinstance(money, Mapping) else line.get("price")
    try:
        price = Decimal(str(value))
    except InvalidOperation:
        raise PayloadInvalid("The price of a line item is not a number.") from None
    if not price.is_finite() or not 0 <= price <= MAX_AMOUNT:
        raise PayloadInvalid("The price of a line item is out of range.")
    return price


def _purchaser(payload: Object) -> str | None:
    for name in ("customer", "billing_address"):
        person = payload.get(name)
        if isinstance(person, Mapping):
            words = [person.get("first_name"), person.get("last_name")]
            if full := _text(" ".join(each for each in words if isinstance(each, str)), _MAX_NAME):
                return full
    return None


def _purchaser_id(payload: Object) -> int | None:
    customer = payload.get("customer")
    found = customer.get("id") if isinstance(customer, Mapping) else None
    with suppress(ValueError):
        return read_id(found)
    return None


def _email(payload: Object) -> str | None:
    customer = payload.get("customer")
    values = (payload.get("email"), customer.get("email") if isinstance(customer, Mapping) else None)
    return next((each for value in values if (each := _text(value, 320, is_address=True))), None)


def _pairs(value: object) -> list[tuple[str, str]]:
    """The pairs of properties or note attributes; anything else among them is left out.

    A theme may have sent a number, or `true`, as itself and not as text.
    """
    return [
        (each["name"], storable(said if isinstance(said, str) else str(said).lower()))
        for each in (value if isinstance(value, list) else ())
        if isinstance(each, Mapping)
        and isinstance(each.get("name"), str)
        and isinstance(said := each.get("value"), str | int | float)
    ]


def _text(value: object, length: int, *, is_address: bool = False) -> str | None:
    """A text in one line that PostgreSQL can store, None if nothing is left.

    Of a longer one, only twice as many characters are read: guests write texts, which each line item may have.
    """
    if not isinstance(value, str):
        return None
    text = storable(value[: 2 * length])
    return (text.strip() if is_address else one_line(text))[:length] or None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _object(value: object, field: str) -> Object:
    if not isinstance(value, Mapping):
        raise PayloadInvalid(f"{field} is not an object.")
    return value


def _pieces(value: object, field: str) -> int:
    if type(value) is not int or not 0 <= value <= _MAX_PIECES:
        raise PayloadInvalid(f"{field} is not a number of pieces.")
    return value


def _required_time(value: object, field: str) -> datetime:
    time = _time(value)
    if time is None:
        raise PayloadInvalid(f"{field} is not a time.")
    return time


def _time(value: object) -> datetime | None:
    """The time; None if it is none."""
    with suppress(ValueError):
        return read_time(value)
    return None
