"""The page behind the unsubscribe link of a mail."""

from wishcraft.mail.messages.rendering import render, text_colour_on


def unsubscribe_page(title: str, text: str, colour: str = "#2f6f5e", *, with_button: bool = False) -> str:
    """The page as HTML, in the shop's colour (`#rrggbb`); with the button that confirms, if asked for."""
    values = {"title": title, "text": text, "colour": colour, "with_button": with_button}
    return render("unsubscribe.html", **values, text_on_colour=text_colour_on(colour))
