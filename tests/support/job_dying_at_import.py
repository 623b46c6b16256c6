"""A job whose machine is lost while its module is imported: its run is Pending, and never starts."""

from tests.support.deaths import die_with_worker
from tests.support.slow_job import slow_job

die_with_worker()
__all__ = ["slow_job"]
