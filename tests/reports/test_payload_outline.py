"""The outline of a payload has the shape that explains a failure, and no personal data."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.webhooks import line, order
from wishcraft.reports.payload_outline import MOST_FIELDS, outline

PRIVATE = ("gast@example.com", "Ada", "Byron", "Vase", "99.00", "claim of Ada")


def test_ids_pieces_times_and_statuses_are_shown_and_nothing_else_of_an_order() -> None:
    payload = order([line(91, None, 2, "claim of Ada")], number=90, test=True, browser_ip="203.0.113.9")
    shown = dict(outline(orjson.dumps(payload)))
    assert shown["id"] == "90"
    assert shown["test"] == "True"
    assert shown["updated_at"] == "2026-03-14T12:00:00+00:00"
    assert shown["financial_status"] == "paid"
    assert shown["cancelled_at"] == "null"
    assert shown["line_items[0].variant_id"] == "null"
    assert shown["line_items[0].quantity"] == "2"
    assert shown["line_items[0].properties[0].value"] == "text"
    assert shown["customer.first_name"] == "text"
    assert shown["refunds"] == "list"
    assert not [each for each in (*PRIVATE, "203.0.113.9") if each in str(shown)]


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (b"", [("", "not JSON: 0 bytes")]),
        (b"Ada", [("", "not JSON: 3 bytes")]),
        (b"[" * 2000, [("", "not JSON: 2,000 bytes")]),
        (b"7", [("", "number")]),
        (b"{}", [("", "object")]),
        (b'{"id":"Ada","quantity":"Ada","created_at":"Ada","status":"Ada Byron"}',
         [("id", "text"), ("quantity", "text"), ("created_at", "text"), ("status", "text")]),
        (b'{"Ada":{"Byron Ada":1}}', [("….…", "number")]),
        (b'{"id":true,"latitude":1.5,"year_of_birth":1815}',
         [("id", "boolean"), ("latitude", "number"), ("year_of_birth", "number")]),
        (b'{"admin_id":"gid://shopify/Order/7","a_id":"gid://shopify/Order/Ada"}',
         [("admin_id", "gid://shopify/Order/7"), ("a_id", "text")]),
    ],
)  # fmt: skip
def test_what_is_no_known_value_is_shown_by_its_type(payload: bytes, shown: list[tuple[str, str]]) -> None:
    assert outline(payload) == shown


def test_outline_is_bounded_in_fields_and_depth() -> None:
    many: dict[str, Any] = {"line_items": [{"id": number} for number in range(5000)]}
    shown = outline(orjson.dumps(many))
    assert len(shown) == MOST_FIELDS + 1
    assert shown[-1] == ("…", "more fields")
    deep = b'{"a":' * 250 + b"1" + b"}" * 250
    [(path, value)] = outline(deep)
    assert (path.count("a"), value) == (12, "object")


WORDS = st.text(st.characters(codec="ascii", categories=["Lu", "Nd"]), min_size=4, max_size=9)


@given(st.recursive(WORDS, lambda inner: st.dictionaries(WORDS, inner) | st.lists(inner), max_leaves=9))
def test_no_typed_text_is_in_an_outline(payload: Any) -> None:
    shown = " ".join(value for field in outline(orjson.dumps({"customer": payload})) for value in field)
    texts = [each for each in orjson.dumps(payload).decode().replace(":", ",").split('"') if each.isalnum()]
    assert not [each for each in texts if each in shown]
