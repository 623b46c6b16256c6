"""Sections of the pages of the documentation."""

from deployments.sandbox.processes import ROOT


def section(page: str, title: str) -> str:
    """The text under a second-level heading of a page."""
    return (ROOT / page).read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
