from typing import Any

from wishcraft.shopify.order_payloads import read_order


def order(attributes: dict[str, str], *properties: dict[str, str]) -> dict[str, Any]:
    lines = [
        {"id": number, "quantity": 1, "price": "1", "properties": as_pairs(each)}
        for number, each in enumerate(properties, 1)
    ]
    return {
        "id": 1, "updated_at": "2026-11-30T12:00:00Z", "note_attributes": as_pairs(attributes), "line_items": lines,
    }  # fmt: skip


def as_pairs(said: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in said.items()]


def test_property_of_a_line_item_comes_before_that_of_the_order() -> None:
    payload = order({"_gift_message": "Of all", "_is_anonymous": "true"}, {}, {"_gift_message": "Own"})
    payload["note_attributes"] += as_pairs({"_gift_message": "Again"})
    payload["line_items"][1]["properties"] += as_pairs({"_gift_message": "Again"})
    lines = read_order(payload).lines
    assert [line.gift_message for line in lines] == ["Of all", "Own"]
    assert [line.anonymous for line in lines] == [True, True]


def test_only_the_beginning_of_a_long_text_of_a_guest_is_read() -> None:
    message = "Hi " + "\u200b" * 100 + "0" * 1_000_000
    [line] = read_order(order({"_gift_message": message, "_purchaser_name": message}, {})).lines
    assert line.gift_message == message.replace("\u200b", "")[:1_000]
    assert line.purchaser_name == f"Hi {'0' * 197}"
