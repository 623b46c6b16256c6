"""The languages of a shop's mails. Pure."""

from enum import StrEnum


class Language(StrEnum):
    """A language into which the texts of mails, and of the pages that they link to, are translated."""

    EN = "en"
    DE = "de"
    FR = "fr"
    JA = "ja"
