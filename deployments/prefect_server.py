"""Prefect's own command line, for its server: `python -m deployments.prefect_server server start ...`.

It adds what the scheduler of Prefect 3.8 lacks under SQLAlchemy 2.1, without which no scheduled run is ever created.
"""

from typing import Any

from prefect.cli import app
from prefect.server.database.orm_models import FlowRun


def _leave_out(_model: type[FlowRun], _row: dict[str, Any], _value: object) -> None:
    """Nothing: a run's state has a table of its own, which the scheduler fills next."""


def mend_scheduler() -> None:
    """Let Prefect's scheduler insert runs in bulk.

    Its rows have a value for the hybrid property `FlowRun.state`. SQLAlchemy 2.0 ignored such a value; 2.1 refuses the
    whole insert unless the property says what to do with it ("please supply a bulk_dml decorated function").
    """
    state: Any = FlowRun.__mapper__.all_orm_descriptors["state"]
    state.bulk_dml_setter = _leave_out


if __name__ == "__main__":
    mend_scheduler()
    app()
