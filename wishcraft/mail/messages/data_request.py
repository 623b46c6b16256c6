"""The mail to a shop whose customer asked for their data: a link, and nothing about the customer."""

from typing import Final

from wishcraft.mail.messages.content import Content, Letterhead
from wishcraft.rendering.templates import render, text_colour_on
from wishcraft.rendering.translations import translate

SUBJECT: Final = "A customer asked for their data"


def compose_data_request(letterhead: Letterhead, link: str) -> Content:
    """The mail with the link to the file, in the shop's language."""
    language = letterhead.language
    values = {"letterhead": letterhead, "text_on_colour": text_colour_on(letterhead.colour), "link": link}
    text, html = (render(f"data_request.{form}", language, **values) for form in ("txt", "html"))
    return Content(translate(language, SUBJECT), text, html)
