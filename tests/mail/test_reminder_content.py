"""What a reminder says, in both of its forms."""

from datetime import date
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pytest

from wishcraft.domain.registries import EventType, ItemStatus, Priority, RegistryStatus, Visibility
from wishcraft.domain.registry_payload import ItemFacts, RegistryFacts
from wishcraft.mail.messages.reminder import Content, Letterhead, Links, compose_reminder
from wishcraft.mail.messages.rendering import ink_on

TODAY = date(2026, 3, 13)
LINKS = Links("https://maple.example/apps/registry/emma", "https://registry.example/api/unsubscribe/token")
HOSTILE = '<img src=x onerror="alert(1)">'


def registry(**changes: Any) -> RegistryFacts:
    facts = RegistryFacts(
        id=1, slug="emma", version=1, title="Emma & Hugo's Wedding", description="", event_type=EventType.WEDDING,
        event_date=date(2026, 3, 14), first_name="Emma", visibility=Visibility.PUBLIC, status=RegistryStatus.ACTIVE,
        owner=None, currency="USD", co_registrants=["Hugo"], low_stock_threshold=5,
    )  # fmt: skip
    return facts._replace(**changes)


def item(number: int, **changes: Any) -> ItemFacts:
    facts = ItemFacts(
        registry_id=1, id=number, product_id=number, variant_id=number, handle=f"thing-{number}",
        product_title=f"Thing {number}", variant_title="Sage", image=None, quantity_wanted=2, quantity_purchased=1,
        priority=Priority.MEDIUM, notes="", price=Decimal("58.50"), compare_at_price=None, tracked=True,
        inventory_quantity=9, available=True, status=ItemStatus.ACTIVE,
    )  # fmt: skip
    return facts._replace(**changes)


def compose(items: list[ItemFacts], today: date = TODAY, shop: str = "Maple & Pine", **changes: Any) -> Content:
    return compose_reminder(Letterhead(shop, "#2f6f5e"), registry(**changes), items, today, LINKS)


class Page(HTMLParser):
    """What a browser would make of it: the words that show, the tags, and where its links go."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words, self.tags, self.links, self._hidden = "", set[str](), list[str | None](), False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._hidden = tag in {"style", "title"}
        self.links += [value for name, value in attrs if tag == "a" and name == "href"]

    def handle_data(self, data: str) -> None:
        self.words += "" if self._hidden else f"{' '.join(data.split())} "


@pytest.mark.parametrize("form", ["text", "html"])
def test_both_forms_say_all_of_it(form: str) -> None:
    content = compose([item(1), item(2, priority=Priority.HIGH)])
    words = content.text if form == "text" else Page(content.html).words
    for part in (
        "Hello Emma and Hugo,", "Tomorrow", "Emma & Hugo's Wedding", "Saturday, 14 March 2026", "50 %", "2 of 4",
        "Thing 2", "Sage", "58.50 USD", "1", "Maple & Pine",
    ):  # fmt: skip
        assert part in words, part
    links = content.text if form == "text" else Page(content.html).links
    assert LINKS.registry in links
    assert LINKS.unsubscribe in links


@pytest.mark.parametrize(
    ("today", "when"), [(date(2026, 3, 7), "In 7 days"), (TODAY, "Tomorrow"), (date(2026, 3, 14), "Today")]
)
def test_it_says_how_far_away_the_event_is(today: date, when: str) -> None:
    content = compose([item(1)], today)
    assert content.subject == f"{when}: Emma & Hugo's Wedding"
    assert content.subject in content.text.splitlines()
    assert when in Page(content.html).words


def test_the_dearest_wishes_come_first_and_what_is_given_or_sold_out_does_not() -> None:
    content = compose(
        [
            item(1, priority="low"),
            item(2, priority="high", available=False),
            item(3, priority="high", quantity_purchased=5),
            item(4, priority="medium"),
            item(5, priority="high"),
        ]
    )
    for words in (content.text, Page(content.html).words):
        places = [words.index(f"Thing {number}") for number in (5, 4, 1)]
        assert places == sorted(places)
        assert "Thing 2" not in words
        assert "Thing 3" not in words


def test_a_long_list_is_cut_and_says_so() -> None:
    content = compose([item(number) for number in range(10, 19)])
    assert content.text.count("Thing") == 5
    assert "and 4 more" in content.text
    assert "and 4 more" in content.html


@pytest.mark.parametrize("items", [[], [item(1, quantity_purchased=2)]])
def test_a_registry_with_nothing_left_says_so(items: list[ItemFacts]) -> None:
    content = compose(items)
    assert "Nothing is left to wish for" in content.text
    assert "Nothing is left to wish for" in content.html
    assert "Still wished for" not in content.html


def test_what_people_wrote_is_never_markup() -> None:
    content = compose(
        [item(1, product_title=HOSTILE, variant_title=HOSTILE)],
        shop=HOSTILE, title=HOSTILE, first_name=HOSTILE, co_registrants=[HOSTILE],
    )  # fmt: skip
    page = Page(content.html)
    assert not page.tags & {"img", "script"}
    assert page.words.count("onerror") >= 5  # it shows as the words that it is
    assert HOSTILE in content.text  # and plain text has no markup


def test_a_title_is_one_line() -> None:
    content = compose([], title="Emma's\r\nBcc: x@y.example")
    assert content.subject == "Tomorrow: Emma's Bcc: x@y.example"


def test_money_is_written_as_the_currency_is() -> None:
    assert "1500 JPY" in compose([item(1, price=Decimal(1500))], currency="JPY").text


def test_no_line_of_the_text_is_lost_or_run_together() -> None:
    lines = compose([item(1), item(2, variant_title="", quantity_wanted=2)]).text.splitlines()
    assert "  - Thing 1, Sage: 58.50 USD" in lines
    assert "  - Thing 2: 58.50 USD" in lines
    assert "-- " in lines


@pytest.mark.parametrize(
    ("colour", "ink"),
    [("#000000", "#ffffff"), ("#ffffff", "#000000"), ("#2f6f5e", "#ffffff"), ("#ffd700", "#000000")],
)
def test_a_shops_colour_can_be_written_on(colour: str, ink: str) -> None:
    assert ink_on(colour) == ink


def test_the_shops_colour_is_in_it() -> None:
    assert "background:#2f6f5e" in compose([item(1)]).html
