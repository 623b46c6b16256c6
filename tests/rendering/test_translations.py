"""The languages of mails: every text in each of them, with the same values, and nothing left in English."""

import re
from datetime import date
from decimal import Decimal
from html import unescape
from importlib.resources import files
from typing import Final

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po
from jinja2 import Environment

from api import registry_html
from deployments.sandbox.processes import ROOT
from tests.support.mail_content import INVITATION_LINKS, mails
from wishcraft.domain.languages import Language
from wishcraft.domain.registries import EventType
from wishcraft.mail.messages import data_request, invitation, reminder
from wishcraft.mail.messages.content import Letterhead
from wishcraft.mail.messages.invitation import Invited, compose_invitation
from wishcraft.rendering import link_pages
from wishcraft.rendering.translations import format_date, format_money, join_names, translate

OTHERS: Final = [language for language in Language if language is not Language.EN]
RENDERING: Final = files("wishcraft.rendering")
_PLACEHOLDER: Final = re.compile(r"%\((\w+)\)[sd]")
EMPTY: Final = {"registry", "beginning", "inviter"}
"""Values of which a language uses one or the other."""


def catalogue(language: Language) -> Catalog:
    with (RENDERING / "catalogues" / f"{language.value}.po").open("rb") as file:
        return read_po(file, language.value)


def used_texts() -> set[str]:
    """All texts that templates and modules ask to be translated."""
    environment = Environment(extensions=["jinja2.ext.i18n"], trim_blocks=True, lstrip_blocks=True)  # noqa: S701  nothing is rendered
    environment.newstyle_gettext = True  # type: ignore[attr-defined]
    found = set[str]()
    templates = [*(RENDERING / "templates").iterdir(), *(ROOT / "api/templates").glob("registry_*.html")]
    for file in templates:
        for _, _, message in environment.extract_translations(file.read_text()):  # type: ignore[attr-defined]
            found.add(str(message if isinstance(message, str) else message[0]))
    constants = (
        reminder.TODAY, reminder.TOMORROW, reminder.IN_DAYS, reminder.HELLO, reminder.HELLO_THERE, reminder.REGISTERED,
        reminder.CONFIRMED, invitation.SUBJECT, invitation.NAMELESS, link_pages.YOUR_ADDRESS,
        data_request.SUBJECT,
    )  # fmt: skip
    found |= {*registry_html.TEXTS, *constants, *invitation.STATEMENTS.values(), *invitation.REGISTRIES.values()}
    for page in link_pages.ALL:
        found |= {page.title, page.text, *page.buttons}
    return found


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_is_translated_with_its_values_and_nothing_else_is(language: Language) -> None:
    messages = {str(each.id[0] if each.pluralizable else each.id): each for each in catalogue(language) if each.id}
    assert messages.keys() == used_texts()
    for text, message in messages.items():
        translations = message.string if isinstance(message.string, list | tuple) else [message.string]
        for translated in translations:
            assert translated, text
            assert translated != text, text
            given, used = set(_PLACEHOLDER.findall(text)), set(_PLACEHOLDER.findall(str(translated)))
            assert used - EMPTY == given - EMPTY, text
            assert not re.search(r"%(?![%(])", str(translated).replace("%%", "")), text


@pytest.mark.parametrize("language", OTHERS)
def test_no_line_breaks_before_a_mark_that_follows_a_space(language: Language) -> None:
    texts = [text for each in catalogue(language) if each.id and isinstance(text := each.string, str)]
    assert not [text for text in texts if re.search(" (?:[?:;!»]|%%)", text)]


def test_number_of_gifts_in_french_fits_one_gift_too() -> None:
    assert translate(Language.FR, "%(given)s of %(wanted)s gifts given", given=1, wanted=5).startswith("Cadeaux")


def test_customer_without_a_name_has_one_honorific_in_japanese() -> None:
    letterhead = Letterhead("Maple & Pine", "#2f6f5e", language=Language.JA)
    invited = Invited(EventType.WEDDING, None, "1", "2", is_registrant=False)
    content = compose_invitation(letterhead, invited, INVITATION_LINKS)
    assert content.text.count("様が") == 1
    assert "様 様" not in content.text.replace("お客様", "お客 様")


@pytest.mark.parametrize("language", list(Language))
def test_mail_is_in_one_language_with_absolute_links(language: Language) -> None:
    english = re.compile(r"\b(the|you|your|and|get|this|because|with|named|left|given|Hello)\b")
    for mail in mails(language):
        words = unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", mail.html, flags=re.DOTALL))
        for text in (re.split("\xa0?: ", mail.subject)[0], mail.text, words):
            assert (english.search(text) is not None) == (language is Language.EN) or text is not mail.text, text
            if language is not Language.EN:
                assert not english.search(text.replace("Thing", "")), text
        assert f'<html lang="{language.value}">' in mail.html
        assert "%(" not in mail.text + mail.html
        assert "<b>Zoë" not in mail.html
        assert all(link.startswith("https://") for link in re.findall(r'(?:href|src)="([^"]*)"', mail.html))
        assert len(mail.html.encode()) < 100 * 1024


def test_dates_money_and_names_are_written_as_in_the_language() -> None:
    day = date(2026, 3, 14)
    assert [format_date(day, language) for language in Language] == [
        "Saturday, 14 March 2026",
        "Samstag, 14. März 2026",
        "samedi 14 mars 2026",
        "2026年3月14日土曜日",
    ]
    assert format_date(date(2026, 12, 1), Language.FR) == "mardi 1er décembre 2026"
    assert format_date(date(2026, 1, 31), Language.FR) == "samedi 31 janvier 2026"
    yen, euros = Decimal(33170), Decimal("58.50")
    assert format_money(yen, "JPY", Language.EN) == "¥33,170"
    assert format_money(euros, "EUR", Language.DE) == "58,50\xa0€"
    assert format_money(yen, "JPY", Language.JA).endswith("33,170")
    assert format_money(Decimal("1499.90"), "HUF", Language.DE) == "1.499,90\xa0HUF"
    assert format_money(Decimal("12.345"), "IQD", Language.FR) == "12,345\xa0IQD"
    names = ["Emma", "Hugo", "Yui"]
    assert [join_names(names, language) for language in Language] == [
        "Emma, Hugo and Yui",
        "Emma, Hugo und Yui",
        "Emma, Hugo et Yui",
        "Emma、Hugo、Yui",
    ]


def test_plural_follows_the_rule_of_the_language() -> None:
    one, many = (mails(Language.FR)[n].text for n in (2, 0))
    assert "et 1 autre\n" in one
    assert "et 3 autres" in many
    assert not re.search(r"\w:(\s|$)", many, re.MULTILINE)  # French has a space before a colon
    assert translate(Language.DE, reminder.IN_DAYS, days=7) == "In 7 Tagen"
