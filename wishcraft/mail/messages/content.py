"""Letterhead of a shop's mails, and the content of each mail."""

from dataclasses import dataclass

from wishcraft.domain.languages import Language


@dataclass(frozen=True, slots=True)
class Letterhead:
    """Letterhead of all mails of a shop: its name and colour (`#rrggbb`), its own sender, where answers go, its postal
    address in one line, and the language.
    """

    shop: str
    colour: str
    sender: str | None = None
    reply_to: str | None = None
    postal_address: str = ""
    language: Language = Language.EN


@dataclass(frozen=True, slots=True)
class Content:
    """A mail's subject and its body in both forms."""

    subject: str
    text: str
    html: str
