"""The pages behind links of mails: a sentence, and buttons that do what the link only shows. And their texts."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from wishcraft.domain.invitations import InvitationStatus
from wishcraft.domain.languages import Language
from wishcraft.rendering.templates import render, text_colour_on
from wishcraft.rendering.translations import translate

_COLOUR: Final = "#2f6f5e"


class Button(NamedTuple):
    """A button that posts, without a login."""

    label: str
    path: str = ""
    """Where to, relative to the page's address; empty for that address itself."""


class PageTexts(NamedTuple):
    """Title, sentence, and the labels of the buttons."""

    title: str
    text: str
    buttons: Sequence[str] = ()


YOUR_ADDRESS: Final = "your address"
UNSUBSCRIBE: Final = PageTexts(
    "No more mail from %(shop)s?", "It goes to %(address)s. You can close this page to keep it.", ["Yes, no more mail"]
)
UNSUBSCRIBED: Final = PageTexts(
    "You are unsubscribed", "%(shop)s sends no more mail to %(address)s.", ["Undo: send me mail again"]
)
RESUBSCRIBED: Final = PageTexts(
    "You get mail again", "%(shop)s writes to %(address)s about registries that name it.", ["No more mail"]
)
BOUNCED: Final = PageTexts(
    "No mail goes to this address",
    "%(shop)s sends none to %(address)s, because mail to it came back.",
    ["Send me mail again"],
)
COMPLAINED: Final = PageTexts(
    "No mail goes to this address",
    "%(shop)s sends none to %(address)s, because mail to it was reported. Write to the shop if you want it again.",
)
SUPPRESSED: Final = PageTexts(
    "No mail goes to this address", "%(shop)s sends it none: it was unsubscribed, or a mail to it came back."
)
INVITATIONS: Final[Mapping[InvitationStatus, PageTexts]] = {
    InvitationStatus.INVITED: PageTexts(
        "Confirm your address?",
        "You are named in %(registry)s. If you confirm, %(shop)s sends you reminders of the event.",
        ["Yes, remind me", "No, not me"],
    ),
    InvitationStatus.CONFIRMED: PageTexts(
        "Your address is confirmed", "%(shop)s sends you reminders of the event. You can end this in each mail."
    ),
    InvitationStatus.DECLINED: PageTexts("You have declined", "%(shop)s sends you no mail about this registry."),
    InvitationStatus.EXPIRED: PageTexts(
        "This invitation has ended",
        "It was not answered in time, or was taken back. %(shop)s sends you no mail about this registry.",
    ),
}
ALL: Final = (UNSUBSCRIBE, UNSUBSCRIBED, RESUBSCRIBED, BOUNCED, COMPLAINED, SUPPRESSED, *INVITATIONS.values())


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


def your_address(language: Language) -> str:
    """Replaces an address that is not known."""
    return translate(language, YOUR_ADDRESS)


def translated_page(texts: PageTexts, language: Language, colour: str, paths: Sequence[str], **values: str) -> str:
    """The page in this language, with these values, in the shop's colour; its buttons post to the paths."""
    title, text = (translate(language, each, **values) for each in texts[:2])
    labels = [translate(language, label) for label in texts.buttons]
    return link_page(title, text, colour, [Button(*each) for each in zip(labels, paths, strict=False)], language)
