import codecs
import csv
from collections.abc import Iterator
from datetime import date
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from pyarrow import csv as pyarrow_csv

from tests.support.aliases import Demo
from wishcraft.analytics import reader
from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.analytics.filters import ReportFilter, TableName
from wishcraft.analytics.tables import TABLES
from wishcraft.domain.periods import Days
from wishcraft.errors import ConfigurationError, DatabaseUnavailable, QueryRefused
from wishcraft.reports.analyst_report import ReportResult
from wishcraft.reports.export import export_table, save, write_frame
from wishcraft.reports.page import Page
from wishcraft.resources import open_analysts_database
from wishcraft.settings import Settings

MAPLE = "maple-and-pine.myshopify.com"
SOURCES = {
    "registries": "registries",
    "items": "registry_items",
    "purchases": "purchases WHERE status IN ('pending', 'confirmed')",
    "events": "analytics_events",
    "reminders": "reminders",
}


@pytest.fixture
def db(demo: Demo, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[AnalystsDatabase]:
    monkeypatch.setattr(reader, "REGISTRIES_PER_CHUNK", 3)
    with open_analysts_database(settings.database_replica_url) as opened:
        yield opened


@pytest.mark.parametrize("table", list(TABLES))
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_export_has_every_row_with_its_shop(
    db: AnalystsDatabase, demo: Demo, tmp_path: Path, table: TableName, suffix: str
) -> None:
    file = tmp_path / "new" / f"all.{suffix}"
    seen: list[tuple[int, int]] = []
    rows = export_table(db, table, ReportFilter(), file, lambda done, total: seen.append((done, total)))
    exported = pd.read_parquet(file) if suffix == "parquet" else pd.read_csv(file)
    [expected] = demo.execute(f"SELECT count(*) FROM {SOURCES[table]}".encode()).fetchone() or ()  # noqa: S608  ours
    assert rows == len(exported) == expected
    assert seen[0] == (0, 12)
    assert seen[-1] == (12, 12)
    assert exported.columns[0] == "shop"
    assert not [name for name in exported.columns if str(name).endswith("_e4")]
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("name", ["x.txt", ".csv", "parquet", "", "x.html"])
def test_file_with_an_unknown_suffix_is_refused(db: AnalystsDatabase, name: str) -> None:
    for write in (partial(export_table, db, "items", ReportFilter()), partial(write_frame, pd.DataFrame())):
        with pytest.raises(QueryRefused, match=r"ends in \.parquet or \.csv"):
            write(Path(name))


def test_file_suffix_may_be_in_capitals(db: AnalystsDatabase, tmp_path: Path) -> None:
    export_table(db, "items", ReportFilter(), tmp_path / "X.CSV")
    assert len(pd.read_csv(tmp_path / "X.CSV")) == len(db.query("SELECT item_id FROM items", 1_000, 10))


def test_exported_amounts_have_their_currency(db: AnalystsDatabase, tmp_path: Path) -> None:
    shops = db.query("SELECT domain, currency FROM shops", 10, 10)
    tables: tuple[TableName, ...] = ("items", "purchases")
    for table in tables:
        export_table(db, table, ReportFilter(), tmp_path / "money.parquet")
        exported = pd.read_parquet(tmp_path / "money.parquet")
        assert set(zip(exported["shop"], exported["currency"], strict=True)) == set(
            shops.itertuples(index=False, name=None)
        )


def test_exported_amounts_are_in_the_currencys_own_unit(db: AnalystsDatabase, demo: Demo, tmp_path: Path) -> None:
    demo.execute("UPDATE registry_items SET price = 12.34 WHERE id = (SELECT min(id) FROM registry_items)")
    export_table(db, "items", ReportFilter([MAPLE]), tmp_path / "items.parquet")
    items = pd.read_parquet(tmp_path / "items.parquet")
    assert items.sort_values("item_id")["price"].iloc[0] == 12.34
    assert set(items["shop"]) == {MAPLE}


def test_days_select_registries_by_creation_and_events_by_occurrence(
    db: AnalystsDatabase, demo: Demo, tmp_path: Path
) -> None:
    demo.execute("UPDATE registries SET created_at = '2026-03-10T04:30Z'")  # the ninth in Tokyo's past, New York's too
    day = ReportFilter(days=Days(date(2026, 3, 10), date(2026, 3, 10)))
    assert export_table(db, "registries", day, tmp_path / "r.csv") == 12
    demo.execute("UPDATE registries SET created_at = '2026-03-10T03:30Z'")  # still the ninth in New York
    assert export_table(db, "registries", day, tmp_path / "r.csv") == 8
    demo.execute("UPDATE analytics_events SET occurred_at = '2026-03-10T12:00Z' WHERE shop_id = 3")
    [expected] = demo.execute("SELECT count(*) FROM analytics_events WHERE shop_id = 3").fetchone() or ()
    assert (
        export_table(db, "events", ReportFilter(["sakura-living.myshopify.com"], days=day.days), tmp_path / "e.csv")
        == expected
    )


def test_export_without_rows_has_columns(db: AnalystsDatabase, tmp_path: Path) -> None:
    never = ReportFilter(days=Days(date(2001, 1, 1), date(2001, 1, 1)))
    for suffix in ("parquet", "csv"):
        assert export_table(db, "items", never, tmp_path / f"none.{suffix}") == 0
    assert [*pd.read_csv(tmp_path / "none.csv")] == [*pd.read_parquet(tmp_path / "none.parquet")]


def test_interrupted_export_leaves_no_file(db: AnalystsDatabase, tmp_path: Path) -> None:
    def lose(done: int, _total: int) -> None:
        if done:
            raise DatabaseUnavailable("gone")

    with pytest.raises(DatabaseUnavailable):
        export_table(db, "items", ReportFilter(), tmp_path / "items.csv", lose)
    assert not list(tmp_path.iterdir())


def test_folder_without_write_access_is_refused_with_its_path(db: AnalystsDatabase, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"items\.csv cannot be written"):
        export_table(db, "items", ReportFilter(), tmp_path / "file" / "items.csv")


def test_report_is_saved_as_a_frame_or_as_a_self_contained_page(tmp_path: Path) -> None:
    frame = pd.DataFrame({"shop": ["a"], "sold": [3]})
    page = Page("Three <were> sold.", "![a plot](data:image/png;base64,AAAA)\n\n| a |\n| --- |\n| <b> |", {})
    for suffix in ("csv", "parquet", "html"):
        save(ReportResult(page, frame), "Sales", tmp_path / f"sales.{suffix}")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "sales.csv"), frame)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "sales.parquet"), frame)
    html = (tmp_path / "sales.html").read_text()
    assert 'src="data:image/png;base64,AAAA"' in html
    assert "Three &lt;were&gt; sold." in html
    assert "<b>" not in html
    assert "http" not in html


FORMULAS = [
    '=HYPERLINK("http://evil.example")',
    "-a\r=1",
    "=a\n=1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "\N{FULLWIDTH EQUALS SIGN}1",
    "\N{SMALL EQUALS SIGN}1",
    "\N{MINUS SIGN}1",
    " =1",
    "\u00a0\u3000\u200b=1",
    "\ufeff=1",
    "\ufff0\u17b4=1",
    "\U0001d173\U000e0001=1",
    "-",
]


def test_formula_in_a_csv_file_is_text_and_numbers_stay_numbers(
    db: AnalystsDatabase, demo: Demo, tmp_path: Path
) -> None:
    demo.execute(
        "UPDATE registry_items SET product_title = (%s::text[])[1 + id %% %s], inventory_quantity = -5",
        [FORMULAS, len(FORMULAS)],
    )
    export_table(db, "items", ReportFilter(), tmp_path / "items.csv")
    exported = read_cells(tmp_path / "items.csv")
    assert {row["product_title"] for row in exported} == {f"'{formula}" for formula in FORMULAS}
    assert {row["stock"] for row in exported} == {"-5"}
    export_table(db, "items", ReportFilter(), tmp_path / "items.parquet")
    assert set(pd.read_parquet(tmp_path / "items.parquet")["product_title"]) == set(FORMULAS)


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("kind", ["object", "str", "category"])
def test_formula_in_a_saved_frame_is_text(tmp_path: Path, kind: str, formula: str) -> None:
    frame = pd.DataFrame({"title": pd.Series([formula, "a=b", None], dtype=kind), formula: [-1.5, 2.0, None]})
    write_frame(frame, tmp_path / "frame.csv")
    assert read_cells(tmp_path / "frame.csv") == [
        {"title": f"'{formula}", f"'{formula}": "-1.5"},
        {"title": "a=b", f"'{formula}": "2.0"},
        {"title": "", f"'{formula}": ""},
    ]
    write_frame(frame.set_index("title"), tmp_path / "indexed.csv")
    assert read_cells(tmp_path / "indexed.csv") == read_cells(tmp_path / "frame.csv")


def test_csv_file_tells_spreadsheets_its_encoding(db: AnalystsDatabase, demo: Demo, tmp_path: Path) -> None:
    demo.execute("UPDATE registry_items SET product_title = 'Lumi\u00e8re'")
    assert export_table(db, "items", ReportFilter(), tmp_path / "items.csv") > 0
    write_frame(pd.DataFrame({"product_title": ["Lumi\u00e8re"]}), tmp_path / "frame.csv")
    for name in ("items", "frame"):
        file = tmp_path / f"{name}.csv"
        assert file.read_bytes().startswith(codecs.BOM_UTF8)
        assert set(pd.read_csv(file)["product_title"]) == {"Lumi\u00e8re"}
        assert set(pyarrow_csv.read_csv(file)["product_title"].to_pylist()) == {"Lumi\u00e8re"}


def read_cells(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, every cell as its text."""
    with file.open(encoding="utf-8-sig", newline="") as lines:
        return list(csv.DictReader(lines))
