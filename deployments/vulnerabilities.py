"""`python -m deployments.vulnerabilities`: report known vulnerabilities of the locked dependencies.

Exit code 0: none; 1: some; 2: the vulnerability service could not be queried.
"""

import wishcraft.interrupts  # noqa: F401  it must be the first import

# isort: split
import asyncio
import sys
from typing import Final

from wishcraft.services.operations.vulnerabilities import AuditResult, Vulnerability, audit

CLEAN: Final = 0
VULNERABLE: Final = 1
UNKNOWN: Final = 2


def main() -> int:
    """Run the audit, print its result and return the exit code."""
    result = asyncio.run(audit())
    print(describe(result))
    if result.unreachable:
        return UNKNOWN
    return VULNERABLE if result.vulnerabilities else CLEAN


def describe(result: AuditResult) -> str:
    """The result as text, with one line per vulnerability."""
    if result.unreachable:
        return f"Nothing was audited: the vulnerability service (osv.dev) did not answer.\n  {result.unreachable}"
    if not result.vulnerabilities:
        return f"No known vulnerabilities in the {result.packages} packages of requirements.lock."
    found = f"{len(result.vulnerabilities)} known vulnerabilities in the {result.packages} packages:"
    return "\n".join([found, *map(_line, result.vulnerabilities)])


def _line(found: Vulnerability) -> str:
    fix = f"fixed in {' or '.join(found.fixed_in)}" if found.fixed_in else "no fix yet"
    return f"  {found.package} {found.version}: {found.id}, {fix}. {found.summary}"


if __name__ == "__main__":
    sys.exit(main())
