"""Ends an interrupted command with one line in place of a traceback. A command imports this module first.

So Ctrl-C while it imports the others is handled, too. Python then ends as by SIGINT: in a shell, exit code 130.
"""

import sys
from types import TracebackType


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write("Interrupted.\n")
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _report
