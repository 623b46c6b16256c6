"""The mail to a shop of which a customer asked for their data: a link, and nothing about the customer."""

from typing import Final

from wishcraft.mail.messages.rendering import Content, Letterhead, render, text_colour_on

SUBJECT: Final = "A customer asked for their data"


def compose_data_request(letterhead: Letterhead, link: str) -> Content:
    """The mail with the link to the file."""
    values = {"letterhead": letterhead, "text_on_colour": text_colour_on(letterhead.colour), "link": link}
    return Content(SUBJECT, render("data_request.txt", **values), render("data_request.html", **values))
