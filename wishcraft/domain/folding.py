"""Folding of texts for search and slugs: what differs only in case, accents, apostrophes or spelling is equal. Pure."""

import re
import unicodedata
from typing import Final

LIGATURES: Final = {"\u00df": "ss", "\u00e6": "ae", "\u0153": "oe", "\u00fe": "th"}
LETTERS: Final = {
    "\u03c2": "\u03c3",  # the final sigma
    "\u00f8": "o",
    "\u0142": "l",
    "\u0111": "d",
    "\u0127": "h",
    "\u0167": "t",
    "\u0131": "i",
    "\u00f0": "d",
}
"""Letters that Unicode does not decompose, and that people type without their stroke."""
APOSTROPHES: Final = "'\u2019\u2018\u02bc`\u02b9"
_MARKS: Final = re.compile("[\u0300-\u036f]")
_TRANSLATION: Final = str.maketrans(LIGATURES | LETTERS | dict.fromkeys(APOSTROPHES, ""))


def fold(text: str) -> str:
    """The text in small letters, without accents and apostrophes; `SEARCH_TEXT` of the store's schema does the same."""
    return _MARKS.sub("", unicodedata.normalize("NFKD", text)).lower().translate(_TRANSLATION)
