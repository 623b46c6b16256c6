"""Payloads without an erased person: all that the handler needs, and no text of people."""

import json
from typing import Any

import orjson
import pytest

from tests.support.erased_person import NAMES, ordered
from tests.support.webhooks import edit, line, refund
from wishcraft.shopify.order_payloads import read_edit, read_order, read_refund
from wishcraft.shopify.privacy_payloads import without_people

ITEM = "0d5b1a0e-6f6e-4a50-9a67-3d8d1f7c3c11"


def stripped(topic: str, payload: object) -> Any:
    content = without_people(topic, payload)
    return None if content is None else orjson.loads(content)


@pytest.mark.parametrize("topic", ["orders/create", "orders/updated", "orders/cancelled"])
def test_order_is_the_same_without_its_purchaser(topic: str) -> None:
    attributes = [{"name": "_registry", "value": "a-registry"}, {"name": "Note", "value": "from Zyxwina"}]
    refunds = [refund(5, 91000, 1) | {"note": "Zyxwina returned it", "user_id": 7}]
    payload = ordered(ITEM, 1, note_attributes=attributes, refunds=refunds, cancelled_at="2026-03-14T12:00:00Z")
    left = stripped(topic, payload)
    expected = read_order(payload)
    lines = tuple(each._replace(purchaser_name=None, gift_message=None) for each in expected.lines)
    assert read_order(left) == expected._replace(purchaser_id=None, purchaser_email=None, lines=lines)
    assert not [name for name in map(str, NAMES) if name in json.dumps(left).lower()]


def test_refund_and_edit_are_the_same() -> None:
    returned = refund(5, 91000, 1) | {"note": "Zyxwina", "transactions": [{"receipt": "Quorblatt"}]}
    assert read_refund(stripped("refunds/create", returned)) == read_refund(returned)
    edited = edit(6, 91000, -1)
    edited["order_edit"] |= {"staff_note": "Zyxwina called", "notify_customer": True}
    assert read_edit(stripped("orders/edited", edited)) == read_edit(edited)
    for left in (stripped("refunds/create", returned), stripped("orders/edited", edited)):
        assert "zyxwina" not in json.dumps(left).lower()
        assert "quorblatt" not in json.dumps(left).lower()


@pytest.mark.parametrize("topic", ["customers/update", "customers/merge", "customers/delete", "checkouts/create", "x"])
def test_nothing_stays_of_another_payload(topic: str) -> None:
    assert without_people(topic, {"id": 1, "email": "a@example.com"}) is None


def test_of_a_deletion_its_order_stays() -> None:
    assert stripped("orders/delete", {"id": 9001, "email": "a@example.com"}) == {"id": 9001}


@pytest.mark.parametrize("content", [None, [], "text", 1])
def test_nothing_stays_of_what_is_no_object(content: object) -> None:
    assert without_people("orders/create", content) is None


@pytest.mark.parametrize(
    "content",
    [{}, {"line_items": 1, "refunds": {}, "note_attributes": [1, {}]}, {"line_items": [None, line(1, 2)]},
     {"order_edit": []}, {"order_edit": {"line_items": []}}, {"refund_line_items": [1]}],
)  # fmt: skip
@pytest.mark.parametrize("topic", ["orders/create", "orders/edited", "refunds/create"])
def test_malformed_payload_is_stripped_without_an_error(topic: str, content: dict[str, Any]) -> None:
    assert without_people(topic, content) is not None
