"""The page of the audit log, in words that people read."""

from datetime import UTC, datetime
from typing import Any

import pytest

from wishcraft.reports.audit_trail import audit_page
from wishcraft.store.audit_log import AuditEntry

WHEN = datetime(2026, 3, 14, 12, 0, 1, 234_567, tzinfo=UTC)


def row(details: dict[str, Any]) -> dict[str, Any]:
    entry = AuditEntry(1, WHEN, "key:a", "some.action", "registry", "7", details, "203.0.113.9", "UA")
    page = audit_page("shop.example", [entry], 10, UTC, str)
    [only] = page.tables["audit-trail"]
    return dict(only)


@pytest.mark.parametrize(
    ("details", "text"),
    [
        ({}, ""),
        ({"scopes": ["read", "write"], "networks": []}, "scopes: read, write; from any address"),
        ({"scopes": [], "days": None}, "scopes: none; never expires"),
        ({"networks": ["203.0.113.0/24"], "days": 90}, "networks: 1; days: 90"),
        (
            {"items": [{"item_id": 5, "was": 2, "counted": 3}, {"item_id": 6, "was": 1, "counted": 0}]},
            "item 5: 2 → 3 purchased, item 6: 1 → 0 purchased",
        ),
        (
            {"before": {"share_url": None, "password_protection": True}, "run": "1",
             "after": {"share_url": "https://shop.example/{slug}", "password_protection": False}},
            "share_url: default → https://shop.example/{slug}; password_protection: on → off",
        ),
        ({"fields": ["title", "status"], "customer": 4711}, "fields: title, status; customer: 4711"),
        ({"slugs": ["emma-and-hugo"], "flag": True, "nothing": None}, "slugs: 1; flag: yes; nothing: none"),
    ],
)  # fmt: skip
def test_details_are_written_as_people_read_them(details: dict[str, Any], text: str) -> None:
    assert row(details)["details"] == text


def test_time_is_to_the_second() -> None:
    assert row({})["time"] == "2026-03-14 12:00:01 UTC"
