"""Chromium shows a page in wide, medium and narrow windows, light and dark, and finds what cannot be read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.support.chromium import CHROMIUM, FLAGS
from tests.support.optional import skip_or_fail

WIDTHS: Final = (1400, 768, 390)
_FAULTS: Final = """async () => {
  await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))  // the page follows the colours
  document.getAnimations().forEach(each => each.cancel())  // the end of a transition counts
  const root = document.documentElement, found = []
  if (root.scrollWidth > root.clientWidth) found.push(`the page is ${root.scrollWidth} px wide`)
  const parse = text => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number)
    return text.startsWith("color(srgb") ? [r * 255, g * 255, b * 255, a] : [r, g, b, a]
  }
  const over = ([r, g, b, a], [x, y, z]) => [r * a + x * (1 - a), g * a + y * (1 - a), b * a + z * (1 - a), 1]
  const light = colour => {
    const [r, g, b] = colour.slice(0, 3).map(each => each / 255)
      .map(each => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const probe = document.body.appendChild(document.createElement("i"))
  probe.style.background = "Canvas"
  const canvas = parse(getComputedStyle(probe).backgroundColor)
  probe.remove()
  const behind = element => {
    const layers = []
    for (let each = element; each; each = each.parentElement) {
      const colour = parse(getComputedStyle(each).backgroundColor)
      if (colour[3]) layers.push(colour)
      if (colour[3] === 1) break
    }
    return layers.reduceRight((below, layer) => over(layer, below), canvas)
  }
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), seen = new Set()
  while (texts.nextNode()) {
    const text = texts.currentNode.data.trim(), element = texts.currentNode.parentElement
    if (!text || seen.has(element) || !element.checkVisibility({visibilityProperty: true})) continue
    if (element.closest("option, :disabled, title, script, style, noscript, .old")) continue
    seen.add(element)
    const style = getComputedStyle(element), below = behind(element)
    const colour = parse(element.closest("svg") ? style.fill : style.color)
    for (let each = element; each; each = each.parentElement) colour[3] *= getComputedStyle(each).opacity
    const [less, more] = [light(over(colour, below)), light(below)].sort((one, other) => one - other)
    const size = parseFloat(style.fontSize), large = size >= 24 || size >= 18.66 && style.fontWeight >= 700
    const contrast = (more + 0.05) / (less + 0.05)
    if (contrast < (large ? 3 : 4.5)) found.push(`contrast ${contrast.toFixed(2)}: ${text.slice(0, 40)}`)
  }
  return found
}"""
"""The page's scroll width, and each text with less contrast than WCAG 2.2 asks for at level AA."""


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A headless Chromium."""
    if CHROMIUM is None:
        skip_or_fail("chromium", "Chromium is not installed: install the package chromium")
    async with async_playwright() as playwright:
        expect.set_options(timeout=30_000)
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running_browser() -> AsyncIterator[Browser]:
    """Chromium, for all tests that run in the session's event loop."""
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def browser(running_browser: Browser) -> AsyncIterator[Browser]:
    """The same without windows: none is left by another test."""
    yield running_browser
    for context in running_browser.contexts:
        await context.close()


async def open_page(browser: Browser, shown: str, ready: str = "body", **options: Any) -> Page:
    """Open HTML, or what an address has, and wait for an element."""
    page = await browser.new_page(**options)
    await show(page, shown, ready)
    return page


async def show(page: Page, shown: str, ready: str = "body") -> None:
    """Show HTML, or what an address has, and wait for an element."""
    if shown.startswith("http"):
        await page.goto(shown)
    else:
        await page.set_content(shown)
    await page.locator(ready).first.wait_for()


async def find_faults(page: Page) -> list[str]:
    """Faults of the page at each width, light and dark."""
    found = []
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            await page.set_viewport_size({"width": width, "height": 1000})
            await page.emulate_media(color_scheme=scheme)
            found += [f"{width} px, {scheme}: {fault}" for fault in await page.evaluate(_FAULTS)]
    return found
