"""The pages that a mail's links lead to."""

from wishcraft.mail.messages.rendering import ink_on, render


def unsubscribe_page(title: str, text: str, colour: str = "#2f6f5e", *, asks: bool = False) -> str:
    """The page as HTML, in the shop's colour (`#rrggbb`); if it `asks`, with the button that says yes."""
    return render("unsubscribe.html", title=title, text=text, colour=colour, ink=ink_on(colour), asks=asks)
