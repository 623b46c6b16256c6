"""Payloads of the compliance webhooks, and what stays of other payloads when a person is erased.

https://shopify.dev/docs/apps/build/compliance/privacy-law-compliance
"""

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

import orjson

from wishcraft.domain.orders import ITEM_PROPERTY, REGISTRY_ATTRIBUTE
from wishcraft.domain.people import Person, make_person, make_signs
from wishcraft.errors import PayloadInvalid
from wishcraft.shopify.values import payload_id

Object = Mapping[str, Any]
_MAX_ORDERS: Final = 100_000

_OF_LINE: Final = ("id", "variant_id", "product_id", "title", "quantity", "current_quantity", "price", "price_set")
_OF_REFUND: Final = ("id", "order_id", "created_at", "refund_line_items")
_OF_ORDER: Final = ("id", "name", "created_at", "updated_at", "test", "cancelled_at", "financial_status")
_OF_REFUNDED: Final = ("line_item_id", "quantity")
_OF_OTHERS: Final[Mapping[str, tuple[str, ...]]] = {
    "orders/delete": ("id",),
    "app/uninstalled": ("myshopify_domain",),
    "shop/update": ("myshopify_domain", "updated_at", "name", "currency", "iana_timezone"),
}


class Subject(NamedTuple):
    """The person whom a webhook is about."""

    person: Person
    signs: frozenset[bytes] | None
    """`domain.people.make_signs` of address and telephone number."""


def read_subject(payload: Object, shop_id: int, shop_domain: str, orders: str) -> Subject:
    """The person whom `customers/redact` or `customers/data_request` is about.

    Args:
        payload: As received.
        shop_id: The shop's, with which contacts are hashed.
        shop_domain: That of the webhook's headers.
        orders: The field that lists ids of orders.

    Raises:
        PayloadInvalid: It names another shop, no person, or something that is not an id.
    """
    require_shop(payload, shop_domain)
    customer = payload.get("customer")
    if not isinstance(customer, Mapping):
        raise PayloadInvalid("customer is not an object.")
    listed = payload.get(orders) or []
    if not isinstance(listed, list) or len(listed) > _MAX_ORDERS:
        raise PayloadInvalid(f"{orders} is not a list of ids.")
    customer_id = customer.get("id")
    customers = set() if customer_id is None else {payload_id(customer_id, "customer.id")}
    email, phone = (_text(customer.get(name)) for name in ("email", "phone"))
    person = make_person(shop_id, customers, {payload_id(each, orders) for each in listed}, email, phone)
    if not (person.customers or person.contacts or person.orders):
        raise PayloadInvalid("customer has neither id nor email nor phone.")
    return Subject(person, make_signs(email, phone))


def require_shop(payload: Object, shop_domain: str) -> None:
    """Check that the payload, which is signed, names the same shop as the headers, which are not.

    Raises:
        PayloadInvalid: It does not.
    """
    if payload.get("shop_domain") != shop_domain:
        raise PayloadInvalid("shop_domain is not the shop that the headers name.")


def require_whole_shop(payload: Object, shop_domain: str) -> None:
    """Check that the payload is about the shop of the headers, and no webhook about a customer under another topic.

    Raises:
        PayloadInvalid: It is not.
    """
    require_shop(payload, shop_domain)
    if "customer" in payload:
        raise PayloadInvalid("customer does not belong to shop/redact: the topic, which is not signed, is another.")


def without_people(topic: str, content: Any, words: Collection[str] = ()) -> bytes | None:
    """The payload without its people, for a handler; None if the handler needs nothing but them.

    A merge of customers has nothing else: its effect is part of the erasure of those whom it names.

    Args:
        topic: Of the webhook.
        content: Its payload, as JSON.
        words: What names a person though a handler would need it: slugs of registries that are erased.
    """
    if not isinstance(content, dict):
        return None
    if topic.startswith("refunds/"):
        return orjson.dumps(_refund(content))
    if topic == "orders/edited":
        return orjson.dumps({"order_edit": _edit(content.get("order_edit"))})
    if topic in _OF_OTHERS:
        return orjson.dumps(_only(content, _OF_OTHERS[topic]))
    return orjson.dumps(_order(content, words)) if topic.startswith("orders/") else None


def _order(content: dict[str, Any], words: Collection[str]) -> dict[str, Any]:
    attributes = _claims(content.get("note_attributes"), words)
    order = _only(content, _OF_ORDER) | {"note_attributes": attributes}
    order["line_items"] = [
        _only(line, _OF_LINE) | {"properties": _claims(line.get("properties"), words)}
        for line in _objects(content.get("line_items"))
    ]
    if isinstance(content.get("refunds"), list):
        order["refunds"] = [_refund(each) for each in _objects(content["refunds"])]
    return order


def _refund(refund: dict[str, Any]) -> dict[str, Any]:
    lines = [_only(line, _OF_REFUNDED) for line in _objects(refund.get("refund_line_items"))]
    return _only(refund, _OF_REFUND) | {"refund_line_items": lines}


def _edit(edit: object) -> dict[str, Any]:
    if not isinstance(edit, dict):
        return {}
    changes = edit.get("line_items")
    lines = {
        kind: [_only(line, ("id", "delta")) for line in _objects(changes.get(kind))]
        if isinstance(changes, dict)
        else []
        for kind in ("additions", "removals")
    }
    return _only(edit, ("id", "order_id", "committed_at")) | {"line_items": lines}


def _claims(pairs: object, words: Collection[str]) -> list[dict[str, Any]]:
    """The properties or attributes that name an item or a registry, but those with one of the words."""
    named = [each for each in _objects(pairs) if each.get("name") in (ITEM_PROPERTY, REGISTRY_ATTRIBUTE)]
    kept = [each for each in named if not any(word in str(each.get("value")) for word in words)]
    return [_only(each, ("name", "value")) for each in kept]


def _only(content: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: content[name] for name in names if name in content}


def _objects(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
