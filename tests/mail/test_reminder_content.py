"""The content of a reminder, as text and as HTML."""

from datetime import date
from decimal import Decimal
from html.parser import HTMLParser

import pytest

from tests.support.mail_content import LINKS, TODAY, item, registry, reminder_content
from wishcraft.domain.registries import Priority
from wishcraft.domain.registry_payload import ItemFacts
from wishcraft.mail.messages.content import Letterhead
from wishcraft.mail.messages.reminder import compose_reminder
from wishcraft.rendering.templates import text_colour_on

HOSTILE = '<img src=x onerror="alert(1)">'


class Page(HTMLParser):
    """The parsed HTML: visible words, tags and link targets."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words, self.tags, self.links, self._is_invisible = "", set[str](), list[str | None](), False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._is_invisible = tag in {"style", "title"}
        self.links += [value for name, value in attrs if tag == "a" and name == "href"]

    def handle_data(self, data: str) -> None:
        self.words += "" if self._is_invisible else f"{' '.join(data.split())} "


@pytest.mark.parametrize("form", ["text", "html"])
def test_text_and_html_contain_every_fact(form: str) -> None:
    content = reminder_content([item(1), item(2, priority=Priority.HIGH)])
    words = content.text if form == "text" else Page(content.html).words
    for part in (
        "Hello Emma and Hugo,", "Tomorrow", "Emma & Hugo's Wedding", "Saturday, 14 March 2026", "50%", "2 of 4",
        "Thing 2", "Sage", "$58.50", "1", "Maple & Pine",
    ):  # fmt: skip
        assert part in words, part
    links = content.text if form == "text" else Page(content.html).links
    assert LINKS.registry in links
    assert LINKS.unsubscribe in links


@pytest.mark.parametrize(
    ("today", "when"), [(date(2026, 3, 7), "In 7 days"), (TODAY, "Tomorrow"), (date(2026, 3, 14), "Today")]
)
def test_subject_and_body_count_down_to_the_event(today: date, when: str) -> None:
    content = reminder_content([item(1)], today)
    assert content.subject == f"{when}: Emma & Hugo's Wedding"
    assert content.subject in content.text.splitlines()
    assert when in Page(content.html).words


def test_open_items_are_listed_by_priority_without_given_or_sold_out_ones() -> None:
    content = reminder_content(
        [
            item(1, priority="low"),
            item(2, priority="high", available=False),
            item(3, priority="high", quantity_purchased=5),
            item(4, priority="medium"),
            item(5, priority="high"),
        ]
    )
    for words in (content.text, Page(content.html).words):
        positions = [words.index(f"Thing {number}") for number in (5, 4, 1)]
        assert positions == sorted(positions)
        assert "Thing 2" not in words
        assert "Thing 3" not in words


def test_long_list_is_cut_and_the_rest_counted() -> None:
    content = reminder_content([item(number) for number in range(10, 19)])
    assert content.text.count("Thing") == 5
    assert "and 4 more" in content.text
    assert "and 4 more" in content.html


@pytest.mark.parametrize(
    ("items", "text"),
    [([], "Your list is still empty"), ([item(1, quantity_purchased=2)], "Nothing is left to wish for")],
)
def test_registry_without_open_items_says_so(items: list[ItemFacts], text: str) -> None:
    content = reminder_content(items)
    assert text in content.text
    assert text in content.html
    assert ("%" in content.text) is bool(items)
    assert "Still wished for" not in content.html


def test_user_texts_are_escaped_in_html() -> None:
    content = reminder_content(
        [item(1, product_title=HOSTILE, variant_title=HOSTILE)],
        shop=HOSTILE, title=HOSTILE, first_name=HOSTILE, co_registrants=[HOSTILE],
    )  # fmt: skip
    page = Page(content.html)
    assert not page.tags & {"img", "script"}
    assert page.words.count("onerror") >= 5  # shown as text
    assert HOSTILE in content.text  # plain text needs no escaping


def test_texts_of_people_are_one_line_without_links() -> None:
    hostile = "Emma's\r\nBcc: x@y.example https://evil.example/a"
    items = [item(1, product_title=hostile, variant_title=hostile)]
    content = reminder_content(items, title=hostile, first_name=hostile, co_registrants=[hostile])
    assert content.subject == "Tomorrow: Emma's Bcc: x @ y. example https: evil. example/a"
    for body in (content.text, content.html):
        assert "@y" not in body
        assert "evil.example" not in body
        assert body.count("evil. example/a") >= 4


def test_only_the_mail_to_the_registrant_names_a_registration_as_its_reason() -> None:
    for to_registrant in (True, False):
        content = reminder_content([], to_registrant=to_registrant)
        for body in (content.text, content.html):
            assert ("because you registered for gifts at" in body) is to_registrant
            assert ("because you confirmed that you belong to a gift registry at" in body) is not to_registrant


@pytest.mark.parametrize(
    ("price", "currency", "written"),
    [
        ("33170", "JPY", "¥33,170"),
        ("1234.5", "EUR", "€1,234.50"),
        ("1200", "CHF", "CHF\u00a01,200.00"),
        ("0.125", "KWD", "KWD\u00a00.125"),
    ],
)
def test_prices_are_written_as_people_write_them(price: str, currency: str, written: str) -> None:
    content = reminder_content([item(1, price=Decimal(price))], currency=currency)
    assert f": {written}" in content.text
    assert f">{written}</td>" in content.html


def test_pictures_have_the_product_as_their_text_and_need_no_room_without_any() -> None:
    shown = reminder_content(
        [item(1, image="https://cdn.example/1.jpg?a=1&b=2", product_title='Bowl "A"'), item(2)]
    ).html
    assert 'src="https://cdn.example/1.jpg?a=1&amp;b=2" alt="Bowl &#34;A&#34;"' in shown
    assert shown.count("<img") == 1
    assert shown.count('width="56" valign') == 2
    without = reminder_content([item(1), item(2)]).html
    assert "<img" not in without
    assert 'width="56"' not in without


def test_mails_end_with_the_postal_address_of_the_shop_if_it_has_one() -> None:
    letterhead = Letterhead("Maple", "#2f6f5e", postal_address="12 <b> Street")
    content = compose_reminder(letterhead, registry(), [item(1)], TODAY, LINKS, to_registrant=True)
    assert "\nMaple, 12 <b> Street\n" in content.text
    assert "<br>Maple, 12 &lt;b&gt; Street</p>" in content.html
    assert "Maple &amp; Pine," not in reminder_content([item(1)]).html


def test_text_has_one_line_per_item() -> None:
    lines = reminder_content([item(1), item(2, variant_title="", quantity_wanted=2)]).text.splitlines()
    assert "  - Thing 1, Sage: $58.50" in lines
    assert "  - Thing 2: $58.50" in lines
    assert "-- " in lines


@pytest.mark.parametrize(
    ("colour", "text_colour"),
    [("#000000", "#ffffff"), ("#ffffff", "#000000"), ("#2f6f5e", "#ffffff"), ("#ffd700", "#000000")],
)
def test_text_colour_contrasts_with_the_shops_colour(colour: str, text_colour: str) -> None:
    assert text_colour_on(colour) == text_colour


def test_html_has_the_shops_colour() -> None:
    assert "background:#2f6f5e" in reminder_content([item(1)]).html
