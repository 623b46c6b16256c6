import importlib
import sys

import pytest

NOT_IN_RANGE = "must be a number from"


@pytest.mark.parametrize(
    "command",
    [
        "worker --patience nan",
        "worker --patience -1",
        "webhooks --drain inf",
        "sandbox.mailbox.__main__ --port 65536",
        "sandbox.mailbox.__main__ --smtp-port 0",
        "sandbox.monitoring.__main__ --port x",
        "sandbox.shopify.__main__ --products 0",
        "sandbox.shopify.__main__ --tick -1",
        "sandbox.shopify.__main__ --actions-per-minute 1e9",
        "sandbox.demo --scale -5",
    ],
)
def test_number_out_of_range_ends_a_command_with_its_range(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *arguments = command.split()
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"deployments.{name}").main()
    assert ended.value.code == 2
    assert f"argument {arguments[0]}: {NOT_IN_RANGE}" in capsys.readouterr().err
