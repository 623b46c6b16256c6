"""The fonts of plots: matplotlib's own, and those of scripts and emoji that it lacks."""

import logging
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from matplotlib import font_manager

_OWN_FONT: Final = "DejaVu Sans"
_FONT_PACKAGES: Final = ("noto_cjk_sans_jp_regular", "manimgx_fonts")
"""The fonts of scripts and emoji that matplotlib's own font lacks; where a package is missing, they are boxes."""

# The fonts have no bold face: titles then have the usual one, which is not a reason for a warning in each report.
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)


def font_families(text: str) -> list[str]:
    """Matplotlib's own font, and those that have what it lacks: each text is measured with all of them."""
    families: list[str] = []
    lacking = set(map(ord, text))
    for family, characters in _fonts().items():
        if not families or lacking & characters:
            families.append(family)
            lacking -= characters
    return families


@cache
def _fonts() -> dict[str, set[int]]:
    """The code points of each font family: matplotlib's own first, then those of other scripts."""
    found = [spec.origin for package in _FONT_PACKAGES if (spec := find_spec(package)) and spec.origin]
    files = [file for origin in found for file in sorted(Path(origin).parent.glob("*.[ot]tf"))]
    own = font_manager.findfont(_OWN_FONT)
    fonts = {_OWN_FONT: set(font_manager.get_font(own).get_charmap())}
    for file in files:
        font_manager.fontManager.addfont(file)
        family = font_manager.FontProperties(fname=file).get_name()
        fonts.setdefault(family, set()).update(font_manager.get_font(file).get_charmap())
    return fonts
