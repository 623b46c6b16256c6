"""The texts of the analysts' pages agree with their figures."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pandas as pd
import pytest

from tests.support.sql_oracle import Tables
from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.analytics.filters import ReportFilter
from wishcraft.domain.periods import Days, last_weeks
from wishcraft.reports.analyst_report import scope
from wishcraft.reports.conversion_report import ConversionReport
from wishcraft.reports.demand_report import DemandReport
from wishcraft.reports.registry_report import RegistryReport
from wishcraft.reports.tables import Column, format_money, shorten_labels, to_markdown

TODAY = date(2026, 3, 14)
NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)
STEPS = {"clicked": "looked at a gift", "in_cart": "put it in the cart", "purchased": "bought it"}


@pytest.mark.usefixtures("demo_shops")
def test_conversion_verdict_names_the_weakest_step(analysts: AnalystsDatabase) -> None:
    page, funnel = ConversionReport(ReportFilter(days=last_weeks(TODAY, 12)), NOW).build(analysts)
    visits = [int(funnel[step].sum()) for step in ("viewed", *STEPS)]
    shares = [after / before for before, after in pairwise(visits)]
    place = shares.index(min(shares))
    step = list(STEPS.values())[place]
    assert f"; the weakest step: of {visits[place]:,} that " in page.verdict
    assert page.verdict.endswith(f", {shares[place]:.0%} {step}.")
    assert "→" not in page.body
    assert "_" not in page.verdict


def test_verdict_counts_out_of_stock_apart_from_will_run_out(analysts: AnalystsDatabase, demo_shops: Tables) -> None:
    demo_shops.execute("UPDATE registry_items SET inventory_quantity = 1, available = true WHERE variant_id % 2 = 0")
    page, forecast = DemandReport(ReportFilter(), TODAY, 8).build(analysts)
    for verdict, scarce in (
        ("out of stock", forecast["stock"] < 1),
        ("will run out", (forecast["stock"] >= 1) & (forecast["stock"] < forecast["low"])),
    ):
        assert scarce.sum()
        assert f" {scarce.sum():,} {verdict}" in page.verdict
    assert "events of the next 8 weeks: " in page.verdict
    assert "*Events from 2026-03-14 to 2026-05-08; all shops; all event types.*" in page.body


@pytest.mark.usefixtures("demo_shops")
def test_amounts_in_yen_have_no_decimals(analysts: AnalystsDatabase) -> None:
    page, _ = RegistryReport(ReportFilter(), NOW).build(analysts)
    orders = page.body.partition("## Orders by shop")[2].splitlines()
    [yen] = [line for line in orders if line.startswith("| sakura-living.myshopify.com | JPY |")]
    assert "." not in yen.partition("JPY")[2]
    [euros] = [line for line in orders if line.startswith("| lumiere-maison.myshopify.com | EUR |")]
    assert euros.partition("EUR")[2].count(".") == 4  # worth, and for each order, guest and registry


def test_amounts_have_their_currencys_decimals_and_cut_rows_are_counted() -> None:
    amounts = format_money(
        pd.DataFrame({"currency": ["JPY", "EUR", "KWD", "EUR"], "value": [1500.0, 1500.0, 12.345, None]}), ["value"]
    )
    page = to_markdown(amounts, {"value": Column("worth")}, 3)
    assert [line.strip("| ") for line in page.splitlines()[2:5]] == ["1,500", "1,500.00", "12.345"]
    assert page.endswith("… and 1 more: see the run's tables.")


@pytest.mark.parametrize(
    ("shops", "days", "beginning"),
    [
        ([], Days(), "*Registries created on any day; all shops; all event types.*"),
        (["a.example", "b.example"], Days(TODAY), "*Registries created from 2026-03-14; a.example, b.example; "),
        ([], Days(None, TODAY), "*Registries created to 2026-03-14; all shops; "),
    ],
)
def test_page_begins_with_its_scope(shops: Sequence[str], days: Days, beginning: str) -> None:
    assert scope("Registries created", ReportFilter(shops), days).startswith(beginning)


def test_reports_draw_any_product_title(analysts: AnalystsDatabase, demo_shops: Tables) -> None:
    titles = ["Ba$$in", "Gift Card $25 - $50", "花瓶 桜" * 20, "Mug 🎁"]
    demo_shops.execute(
        "UPDATE registry_items SET product_title = (%s::text[])[1 + id %% 4], variant_title = '',"
        " inventory_quantity = 0",
        [titles],
    )
    demo_shops.execute("UPDATE registries SET event_date = %s WHERE status = 'active'", [TODAY + timedelta(days=3)])
    for page, _ in (
        RegistryReport(ReportFilter(), NOW).build(analysts),
        DemandReport(ReportFilter(), TODAY, 2).build(analysts),
    ):
        assert "data:image/png" in page.body
        assert not [title for title in titles if title not in str(page.tables)]


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("Classic Linen Tablecloth, Natural", "Classic Linen …"),
        ("a b\n c", "a b c"),
        ("x" * 21, f"{'x' * 18} …"),
        ("x" * 20, "x" * 20),
        ("花" * 11, f"{'花' * 9} …"),
        ("花" * 10, "花" * 10),
        ("", ""),
    ],
)
def test_label_of_a_chart_is_cut_at_a_word_or_else_at_its_width(label: str, shown: str) -> None:
    assert shorten_labels([label], 20) == [shown]
