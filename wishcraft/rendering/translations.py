"""Translations of the texts of mails and of the pages that they link to: gettext catalogues, one for each language.

The English text is the key. A catalogue is compiled when it is needed first.
"""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from functools import lru_cache
from importlib.resources import files
from io import BytesIO
from typing import Final

from babel import Locale
from babel.dates import format_date as babel_date
from babel.lists import format_list
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_currency
from babel.support import NullTranslations, Translations

from wishcraft.domain import currencies
from wishcraft.domain.languages import Language

_FOLDER: Final = files("wishcraft.rendering") / "catalogues"
_ENGLISH_DATE: Final = "EEEE, d MMMM y"
_LOCALES: Final = {Language.EN: "en_GB"}
"""Of English, the British one: no comma before `and`."""


@lru_cache(len(Language))
def translations(language: Language) -> NullTranslations:
    """The catalogue of a language; English texts are their own translations."""
    if language is Language.EN:
        return NullTranslations()
    with (_FOLDER / f"{language.value}.po").open("rb") as file:
        catalogue = read_po(file, language.value)
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return Translations(compiled)


def translate(language: Language, text: str, **values: object) -> str:
    """The text in the language, with these values in place of `%(name)s`."""
    translated: str = translations(language).gettext(text)
    return translated % values


def format_date(day: date, language: Language) -> str:
    """A date in words: `Saturday, 14 March 2026`, `Samstag, 14. März 2026`."""
    style = _ENGLISH_DATE if language is Language.EN else "full"
    text = babel_date(day, style, locale=language.value)
    return text.replace(" 1 ", " 1er ", 1) if language is Language.FR else text  # which CLDR does not do


def format_money(amount: Decimal, currency: str, language: Language) -> str:
    """An amount as people write it: `$58.50`, `58,50 $`."""
    if language is Language.EN:
        return currencies.write_money(amount, currency)
    # With the decimals of ISO 4217, as everywhere: CLDR's leave out those of some currencies, such as the forint.
    places, pattern = currencies.decimals(currency), Locale(language.value).currency_formats["standard"].pattern
    exact = pattern.replace(".00", f".{'0' * places}" if places else "")
    rounded = Decimal(currencies.format_money(amount, currency))
    return format_currency(rounded, currency, exact, locale=language.value, currency_digits=False)


def colon(language: Language) -> str:
    """A colon and the space after it; French has one before it, too, which does not break."""
    return "\xa0: " if language is Language.FR else ": "


def join_names(names: Sequence[str], language: Language) -> str:
    """The names as a phrase: `Emma, Hugo and Yui`, `Emma, Hugo und Yui`."""
    return format_list(names, locale=_LOCALES.get(language, language.value))
