"""Every link to the Prefect UI is to its version 2, however PREFECT_UI_URL is written."""

from uuid import UUID

import pytest
from prefect.settings import PREFECT_UI_URL, temporary_settings

from tasks.runtime.ui_links import artifact_page, run_page, runs_page, with_runbook_links
from wishcraft.settings import Settings


@pytest.mark.parametrize("url", ["http://prefect:4200", "http://prefect:4200/", "http://prefect:4200/v2"])
def test_links_name_version_2_of_the_ui_once(url: str, settings: Settings) -> None:
    with temporary_settings({PREFECT_UI_URL: url}):
        assert run_page("1") == "http://prefect:4200/v2/runs/flow-run/1"
        artifact = UUID(int=1)
        assert artifact_page(artifact) == f"http://prefect:4200/v2/login?redirectTo=/artifacts/artifact/{artifact}"
        assert runs_page() == "http://prefect:4200/v2/runs"
    own = Settings.model_validate(settings.model_dump() | {"prefect_ui_url": url})
    assert own.prefect_ui_url == "http://prefect:4200"


def test_summary_is_written_without_links_while_another_setting_is_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBOOK_URL", "https://docs.example")
    text = "See docs/runbooks/mail.md."
    assert with_runbook_links(text) == "See [runbook mail](https://docs.example/mail.md)."
    monkeypatch.setenv("TASK_RUNNER", "none")
    assert with_runbook_links(text) == text
