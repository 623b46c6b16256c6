"""The description of a run's file: links to open and to save it, its size, and the columns of exported data."""

from pathlib import Path

import pandas as pd
import pytest

from wishcraft.reports.export import write_frame
from wishcraft.reports.run_file import RunFile, describe_export
from wishcraft.resources import open_files
from wishcraft.settings import Settings


@pytest.mark.parametrize("public_url", ["https://registry.example", "https://registry.example/"])
def test_page_has_a_link_to_open_it_and_data_one_to_save_it(
    settings: Settings, tmp_path: Path, public_url: str
) -> None:
    changed = settings.model_copy(update={"files_url": tmp_path.as_uri(), "public_url": public_url})
    for name, opens in (("a.html", True), ("a.csv", False)):
        file = RunFile.place(open_files(changed), changed, "a-run", name)
        file.path.write_bytes(b"x" * 1536)
        text = file._replace(content="2 rows of 1 column").to_markdown()
        assert f"[save it](https://registry.example/files/a-run/{name})" in text
        assert ("?show=true)" in text) is opens
        assert "1.5 KiB, 2 rows of 1 column" in text
        assert file.where == f"https://registry.example/files/a-run/{name}"
    assert (tmp_path / "runs/a-run").stat().st_mode & 0o777 == 0o700


def test_without_a_public_url_the_run_names_the_path_and_the_setting(settings: Settings, tmp_path: Path) -> None:
    changed = settings.model_copy(update={"files_url": tmp_path.as_uri(), "public_url": None})
    file = RunFile.place(open_files(changed), changed, "run", "a.csv")
    file.path.write_bytes(b"")
    for text in (file.to_markdown(), file.where):
        assert str(tmp_path / "runs/run/a.csv") in text
        assert "PUBLIC_URL" in text


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_exported_columns_are_shown_with_their_first_distinct_values(tmp_path: Path, suffix: str) -> None:
    frame = pd.DataFrame({"title": ["a|b", "a|b", None, "c" * 50, "d", "e"], "sold": [1, 1, 2, 3, 4, 5]})
    write_frame(frame, tmp_path / f"x.{suffix}")
    page, content = describe_export("items", tmp_path / f"x.{suffix}", 6)
    assert (page.verdict, content) == ("6 rows of items.", "6 rows of 2 columns")
    assert f" | a\\|b, {'c' * 40}…, d |" in page.body
    assert "| sold | int64 | 1, 2, 3 |" in page.body
    write_frame(frame.head(0), tmp_path / f"none.{suffix}")
    assert describe_export("items", tmp_path / f"none.{suffix}", 0)[1] == "0 rows of 2 columns"
