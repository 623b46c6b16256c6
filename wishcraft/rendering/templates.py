"""Renders the templates of mails, pages and reports: HTML escapes values, and text on a colour stays readable."""

from functools import lru_cache
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from wishcraft.domain.languages import Language
from wishcraft.rendering.translations import colon, translations

_EQUAL_CONTRAST: Final = 0.179
"""The luminance on which black and white have the same contrast ratio (WCAG 2.2)."""


def render(template: str, language: Language = Language.EN, **values: object) -> str:
    """Render a template in this language. A name without a value raises jinja2.UndefinedError."""
    return _templates(language).get_template(template).render(values, language=language.value, colon=colon(language))


@lru_cache(len(Language))
def _templates(language: Language) -> Environment:
    environment = Environment(
        loader=PackageLoader("wishcraft.rendering"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_translations(translations(language), newstyle=True)  # type: ignore[attr-defined]
    return environment


def text_colour_on(colour: str) -> str:
    """Black or white, whichever has more contrast on `#rrggbb`.

    https://www.w3.org/TR/WCAG22/#dfn-relative-luminance
    """
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]  # noqa: PLR2004  sRGB
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if luminance > _EQUAL_CONTRAST else "#ffffff"
