"""`python -m deployments.vulnerabilities`: which locked dependencies have known vulnerabilities.

Exits with 0 when none has, 1 when some have, and 2 when that could not be found out: unknown is not clean.
"""

import asyncio
import sys
from typing import Final

from wishcraft.services.operations.vulnerabilities import AuditResult, Vulnerability, audit

CLEAN: Final = 0
VULNERABLE: Final = 1
UNKNOWN: Final = 2


def main() -> int:
    """Look them up, say what was found, and return the exit code."""
    result = asyncio.run(audit())
    print(describe(result))
    if result.unreachable:
        return UNKNOWN
    return VULNERABLE if result.vulnerabilities else CLEAN


def describe(result: AuditResult) -> str:
    """The result for a person, with a line for each vulnerability."""
    if result.unreachable:
        return f"Nothing was audited: the vulnerability service (osv.dev) gave no answer.\n  {result.unreachable}"
    if not result.vulnerabilities:
        return f"No known vulnerabilities in the {result.packages} packages of requirements.lock."
    found = f"{len(result.vulnerabilities)} known vulnerabilities in the {result.packages} packages:"
    return "\n".join([found, *map(_line, result.vulnerabilities)])


def _line(one: Vulnerability) -> str:
    mended = f"fixed in {' or '.join(one.fixed_in)}" if one.fixed_in else "no fix yet"
    return f"  {one.package} {one.version}: {one.id}, {mended}. {one.summary}"


if __name__ == "__main__":
    sys.exit(main())
