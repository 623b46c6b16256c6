"""Contents of mails: facts of a registry and its items, and the reminder about them."""

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from wishcraft.domain.languages import Language
from wishcraft.domain.registries import EventType, ItemStatus, Priority, RegistryStatus, Visibility
from wishcraft.domain.registry_payload import ItemFacts, RegistryFacts
from wishcraft.mail.messages.content import Content, Letterhead
from wishcraft.mail.messages.data_request import compose_data_request
from wishcraft.mail.messages.invitation import InvitationLinks, Invited, compose_invitation
from wishcraft.mail.messages.reminder import Links, compose_reminder

TODAY = date(2026, 3, 13)
LINKS = Links("https://maple.example/apps/registry/emma", "https://registry.example/api/unsubscribe/token")


def registry(**changes: Any) -> RegistryFacts:
    facts = RegistryFacts(
        id=1, slug="emma", version=1, title="Emma & Hugo's Wedding", description="", event_type=EventType.WEDDING,
        event_date=date(2026, 3, 14), first_name="Emma", visibility=Visibility.PUBLIC, status=RegistryStatus.ACTIVE,
        owner=None, currency="USD", co_registrants=["Hugo"], low_stock_threshold=5,
        share_url="https://maple.example/apps/registry/emma",
    )  # fmt: skip
    return facts._replace(**changes)


def item(number: int, **changes: Any) -> ItemFacts:
    facts = ItemFacts(
        registry_id=1, id=number, product_id=number, variant_id=number, handle=f"thing-{number}",
        product_title=f"Thing {number}", variant_title="Sage", image=None, quantity_wanted=2, quantity_purchased=1,
        priority=Priority.MEDIUM, notes="", price=Decimal("58.50"), compare_at_price=None, tracked=True,
        inventory_quantity=9, available=True, status=ItemStatus.ACTIVE, display_order=number,
        attribution=UUID(int=number),
    )  # fmt: skip
    return facts._replace(**changes)


def reminder_content(
    items: list[ItemFacts],
    today: date = TODAY,
    shop: str = "Maple & Pine",
    to_registrant: bool = True,
    **changes: Any,
) -> Content:
    letterhead = Letterhead(shop, "#2f6f5e")
    return compose_reminder(letterhead, registry(**changes), items, today, LINKS, to_registrant=to_registrant)


def mails(language: Language) -> list[Content]:
    letterhead = Letterhead("Maple & Pine", "#2f6f5e", postal_address="12 Harbor Street", language=language)
    items = [item(number, image="https://x.example/a.png", quantity_wanted=3) for number in range(8)]
    links, today = Links("https://x.example/r", "https://x.example/u"), date(2026, 3, 7)
    reminders = [
        compose_reminder(letterhead, registry(**changes), some, today, links, to_registrant=to_registrant)
        for changes, some, to_registrant in (
            ({}, items, True),
            ({"first_name": "", "co_registrants": []}, [], False),
            ({"event_date": today}, items[:6], True),
        )
    ]
    facts = [(True, date(2026, 3, 14)), (True, None), (False, date(2026, 3, 14)), (False, None)]
    invitations = [
        compose_invitation(
            letterhead,
            Invited(event_type, day, "<b>Zoë", "Reed", is_registrant=is_registrant),
            InvitationLinks("https://x.example/a", "https://x.example/u"),
        )
        for event_type in EventType
        for is_registrant, day in facts
    ]
    return [*reminders, *invitations, compose_data_request(letterhead, "https://x.example/f")]


INVITATION_LINKS = InvitationLinks(
    "https://registry.example/api/invitations/token", "https://registry.example/api/unsubscribe/t"
)


def invitation_content(**changes: Any) -> Content:
    facts: dict[str, Any] = {
        "event_type": EventType.WEDDING, "event_date": date(2026, 3, 14), "first_name": "Emma", "last_name": "Reed",
        "is_registrant": False,
    }  # fmt: skip
    return compose_invitation(Letterhead("Maple & Pine", "#2f6f5e"), Invited(**facts | changes), INVITATION_LINKS)
