"""The content of an invitation, which goes to people who have not asked for it."""

import pytest

from tests.support.mail_content import INVITATION_LINKS, invitation_content
from wishcraft.domain.registries import EventType


def test_invitation_says_who_named_the_person_where_and_when() -> None:
    content = invitation_content()
    assert "Emma Reed named you in a wedding registry at Maple & Pine" in content.text
    assert "Saturday, 14 March 2026" in content.text
    assert "<strong>Emma Reed</strong> named you in a wedding registry at Maple &amp; Pine" in content.html
    for body in (content.text, content.html):
        assert INVITATION_LINKS.answer in body
        assert INVITATION_LINKS.unsubscribe in body
        assert "14 days" in body


def test_registrant_is_asked_about_the_own_address() -> None:
    content = invitation_content(is_registrant=True, event_type=EventType.ANNIVERSARY, event_date=None)
    for body in (content.text, content.html):
        assert "An anniversary registry was made at" in body
        assert "Emma" not in body
        assert "event on" not in body


@pytest.mark.parametrize("is_registrant", [True, False])
def test_subject_is_fixed_and_no_name_becomes_a_link_or_a_number(is_registrant: bool) -> None:
    hostile = "https://evil.example/\r\nBcc: x@evil.example 0800 123456 <a href='//evil'>"
    content = invitation_content(first_name=hostile, last_name=hostile, is_registrant=is_registrant)
    assert content.subject == "Please confirm your e-mail address"
    for body in (content.text, content.html):
        assert "evil.example" not in body
        assert "//evil" not in body
        assert "@evil" not in body
        assert "0800" not in body
        assert "<a href='" not in body if body is content.html else True


def test_long_name_is_cut_and_an_empty_one_replaced() -> None:
    assert "n" * 59 + "… named you" in invitation_content(first_name="n" * 60, last_name="n" * 60).text
    assert "A customer named you" in invitation_content(first_name="12 ⑩", last_name="\u200bⅧ⅒").text


def test_name_keeps_the_ideographs_that_mean_numbers() -> None:
    assert "健一 三浦 named you" in invitation_content(first_name="健一2", last_name="三浦").text


@pytest.mark.parametrize("event_type", list(EventType))
def test_each_type_of_event_has_its_words(event_type: EventType) -> None:
    assert " registry at Maple & Pine" in invitation_content(event_type=event_type).text
