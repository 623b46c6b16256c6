"""Pictures of the simulated products: SVG, the same for the same handle."""

import hashlib
from typing import Final
from xml.sax.saxutils import escape

_SHAPES: Final = (
    '<circle cx="300" cy="270" r="140"/>',
    '<rect x="160" y="130" width="280" height="280" rx="36"/>',
    '<path d="M300 140 450 400H150Z" stroke-width="24" stroke-linejoin="round"/>',
    '<ellipse cx="300" cy="270" rx="180" ry="120"/>',
)


def image_url(origin: str, handle: str) -> str:
    """The URL of a product's image; `origin` is that of the shop's Admin API."""
    return f"{origin}/images/{handle}.svg"


def draw(handle: str) -> str:
    """An SVG of 600 by 600 pixels: a shape in a colour of the product's own, with its name.

    Both are in the middle 450 pixels, so that a page may cut it to four by three.
    """
    digest = hashlib.sha256(handle.encode(errors="replace")).digest()
    hue = digest[0] * 360 // 256
    name = escape("".join(letter for letter in handle if letter.isprintable()).replace("-", " ").capitalize())
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 600" width="600" height="600">'
        f'<rect width="600" height="600" fill="hsl({hue},40%,92%)"/>'
        f'<g fill="hsl({hue},40%,55%)" stroke="hsl({hue},40%,55%)">{_SHAPES[digest[1] % len(_SHAPES)]}</g>'
        f'<text x="300" y="480" text-anchor="middle" font-family="sans-serif" font-size="28" fill="#333">{name}</text>'
        "</svg>"
    )
