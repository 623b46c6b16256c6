"""Examples of request bodies, by what they do. A test sends each to the demo shops."""

from typing import Any, Final

from api.schemas.demo import DEMO_ITEM, DEMO_VARIANTS

RequestExamples = dict[str, Any]
"""As OpenAPI has them: `summary` and `value` by a short name."""


def _named(**examples: object) -> RequestExamples:
    return {name: {"summary": name.replace("_", " ").capitalize(), "value": value} for name, value in examples.items()}


_EMMA: Final = {"first_name": "Emma", "last_name": "Reed", "email": "emma.reed@example.com"}
_HUGO: Final = {"first_name": "Hugo", "last_name": "Laurent", "email": "hugo.laurent@example.com"}
NEW_REGISTRIES: Final = _named(
    a_wedding={
        "title": "Emma & Hugo's Wedding",
        "description": "Thank you for celebrating with us.",
        "event_type": "wedding",
        "event_date": "2027-06-12",
        "event_location": "The Orangery",
        "visibility": "public",
        "registrant": _EMMA,
        "co_registrants": [_HUGO],
    },
    behind_an_access_code={
        "title": "Welcome, Baby Reed",
        "event_type": "baby",
        "visibility": "password",
        "access_code": "tulip-canoe-amber",
        "registrant": _EMMA,
    },
)
CHANGED_REGISTRIES: Final = _named(
    another_title_and_date={"title": "Emma & Hugo", "event": {"date": "2027-06-19"}},
    people={"registrant": _EMMA, "co_registrants": [_HUGO]},
    archive={"status": "archived"},
    restore={"status": "active"},
)
NEW_ITEMS: Final = _named(
    two_pieces={"variant_id": DEMO_VARIANTS[0], "quantity": 2, "priority": "high"},
    with_a_note={"variant_id": DEMO_VARIANTS[1], "notes": "Any colour is lovely"},
)
CHANGED_ITEMS: Final = _named(
    more_pieces={"wanted": 4},
    first_of_the_list={"display_order": 0, "priority": "high"},
)
GUEST_EVENTS: Final = _named(
    a_look={"visitor_id": "b7c1d2", "events": [{"type": "registry_viewed"}]},
    into_the_cart={
        "visitor_id": "b7c1d2",
        "events": [
            {"type": "item_clicked", "item_id": DEMO_ITEM},
            {"type": "added_to_cart", "item_id": DEMO_ITEM},
        ],
    },
)
NEW_KEYS: Final = _named(
    a_web_shop={"name": "our web shop", "scopes": ["read", "write"], "ip_allow_list": [], "days": 90},
    reads_from_one_network={"name": "our blog", "scopes": ["read"], "ip_allow_list": ["203.0.113.0/24"]},
)
SUPPRESSED: Final = _named(a_registrant={"email": "emma@example.com"})
CHANGED_SETTINGS: Final = _named(
    stock_and_cache={"low_stock_threshold": 3, "cache_quota_entries": 20_000},
    share_links={"share_url": "https://www.maple-and-pine.example/gifts?list={slug}"},
)
