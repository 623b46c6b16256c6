"""A job that prints what its process was given."""

import os
import sys
from pathlib import Path

from prefect import State, flow
from prefect.states import Completed


@flow(name="environment-job", persist_result=False)
def environment_job() -> State[None]:
    """End with the command, the folder and the names of the environment variables."""
    command = " ".join(sys.orig_argv[1:])
    return Completed(message=f"{command}|{Path.cwd()}|{' '.join(sorted(os.environ))}")
