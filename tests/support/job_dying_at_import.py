"""A job whose machine is lost while its module is imported: its run is Pending, and never starts."""

from tests.support.slow_job import slow_job
from tests.support.worker_loss import die_with_worker

die_with_worker()
__all__ = ["slow_job"]
