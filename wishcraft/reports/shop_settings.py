"""The page of a shop's settings, before and after a change. Pure."""

from wishcraft.reports.markdown import Markup, escape, table
from wishcraft.reports.page import Page, Row, format_bytes, pluralize
from wishcraft.services.shops.settings import SettingsChange
from wishcraft.store.schema import ShopSettings


def settings_page(shop: str, change: SettingsChange, *, is_change: bool) -> Page:
    """The shop's settings; `is_change` is whether a change was wanted, though all may have been set before."""
    rows = [_row(name, change) for name in ShopSettings.model_fields]
    changed = sum(row["before"] != row["after"] for row in rows)
    if changed:
        verdict = f"{shop}: {pluralize(changed, 'setting')} changed."
    else:
        verdict = f"{shop}: these values were set before." if is_change else f"{shop}: nothing to change."
    body = table(("setting", "before", "after"), map(_line, rows))
    return Page(verdict, body, {"shop-settings": rows})


def _line(row: Row) -> list[str]:
    """The row for the page, where a new value is bold."""
    before, after = str(row["before"]), str(row["after"])
    return [str(row["setting"]), before, after if after == before else Markup(f"**{escape(after)}**")]


def _row(name: str, change: SettingsChange) -> Row:
    before, after = (getattr(each.settings, name) for each in (change.before, change.after))
    texts = [setting_text(name, value) for value in (before, after)]
    if name == "share_url":  # the link in use, where it is the default
        stored = zip(texts, (change.before, change.after), strict=True)
        texts = [text if each.settings.share_url else f"{text}: {each.share_template}" for text, each in stored]
    meaning = (ShopSettings.model_fields[name].description or "").replace("`", "")  # a table has no Markdown
    return {"setting": name, "before": texts[0], "after": texts[1], "meaning": meaning}


def setting_text(name: str, value: object) -> str:
    """The value of a setting, as its form has it."""
    if value is None:
        return "default"  # as the form wants it
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int):
        return f"{value:,} ({format_bytes(value)})" if name.endswith("_bytes") else f"{value:,}"
    return str(value)
