"""The page behind a link of a mail: a sentence, and buttons that do what the link only shows."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from wishcraft.domain.languages import Language
from wishcraft.mail.messages.rendering import render, text_colour_on

_COLOUR: Final = "#2f6f5e"


class Button(NamedTuple):
    """A button that posts, without a login."""

    label: str
    path: str = ""
    """Where to, relative to the page's address; empty for that address itself."""


def link_page(
    title: str,
    text: str,
    colour: str = _COLOUR,
    buttons: Sequence[Button] = (),
    language: Language = Language.EN,
) -> str:
    """The page as HTML, in the shop's colour (`#rrggbb`); the first button is the one that is expected."""
    values = {"title": title, "text": text, "colour": colour, "buttons": buttons}
    return render("link_page.html", language, **values, text_on_colour=text_colour_on(colour))
