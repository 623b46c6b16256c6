"""Breakages of log messages, sums and stock."""

from typing import Final

from tests.support.breakages.breakage import Breakage

BREAKAGES: Final = (
    Breakage(
        "log messages are not redacted", "wishcraft/observability/logs.py",
        "record.msg, record.args = _encodable(redact_text(text, secrets)), None",
        "record.msg, record.args = _encodable(text), None",
        ("tests/observability/test_logs.py::test_registered_secrets_are_redacted",),
    ),
    Breakage(
        "money is rounded half to even", "wishcraft/domain/currencies.py",
        "Decimal(1).scaleb(-decimals(currency)), ROUND_HALF_UP)",
        "Decimal(1).scaleb(-decimals(currency)))",
        ("tests/store/test_registry_payloads.py::test_the_sql_payload_equals_the_domains_byte_for_byte",),
    ),
    Breakage(
        "a variant of a draft product is available", "wishcraft/domain/inventory.py",
        "return reading.product_active and (",
        "return (", ("tests/domain/test_inventory.py",),
    ),
)  # fmt: skip
