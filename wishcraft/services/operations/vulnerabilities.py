"""Looks up the locked dependencies' known vulnerabilities at OSV (osv.dev) with pip-audit.

A package that was not looked up never counts as clean: if one is missing, the audit has no result but a reason.
"""

import asyncio
import json
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

LOCK: Final = Path(__file__).resolve().parents[3] / "requirements.lock"
AUDIT_SECONDS: Final = 300.0
"""pip-audit looks up some two hundred packages one after the other."""
_REQUEST_TIMEOUT_SECONDS: Final = 10
_NOISE: Final = re.compile(r"^.*(?:\[[^]]+\]|port=\d+\):) |^[\w.]+: |[\"')]+$|\.? \(.*$| for url: .*$")
"""Parts of an exception's line to remove: class, connection, cause and URL."""


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """A known vulnerability of a locked version; `fixed_in` is empty if no release fixes it."""

    package: str
    version: str
    id: str
    fixed_in: tuple[str, ...]
    summary: str


@dataclass(frozen=True, slots=True)
class AuditResult:
    """Vulnerabilities of that many packages, or in `unreachable` the reason why there is no result."""

    packages: int = 0
    vulnerabilities: tuple[Vulnerability, ...] = ()
    unreachable: str | None = None


async def audit(lock: Path = LOCK) -> AuditResult:
    """Look up the locked packages. Failures are returned in the result, not raised.

    PIP_AUDIT_OSV_URL replaces OSV's address.

    Args:
        lock: Requirements file with a version and hashes for each package.
    """
    with tempfile.TemporaryDirectory() as cache:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pip_audit", "--vulnerability-service", "osv", "--disable-pip", "--requirement",
            lock, "--format", "json", "--progress-spinner", "off", "--timeout", str(_REQUEST_TIMEOUT_SECONDS),
            "--cache-dir", cache, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(AUDIT_SECONDS):
                output, errors = await process.communicate()
        except TimeoutError:
            return AuditResult(unreachable=f"pip-audit did not finish within {AUDIT_SECONDS:.0f} s")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    return _result(output.decode(), errors.decode())


def _result(output: str, errors: str) -> AuditResult:
    try:
        report = json.loads(output)
    except ValueError:  # exit code 1 means vulnerabilities or an error: only the output distinguishes them
        return AuditResult(unreachable=_reason(errors))
    packages = report["dependencies"]
    skipped = [package["skip_reason"] for package in packages if "skip_reason" in package]
    if skipped:
        return AuditResult(unreachable=f"{len(skipped)} of {len(packages)} packages: {skipped[0]}")
    return AuditResult(
        len(packages), tuple(_vulnerability(package, found) for package in packages for found in package["vulns"])
    )


def _vulnerability(package: dict[str, Any], found: dict[str, Any]) -> Vulnerability:
    summary = found["description"].strip()
    return Vulnerability(package["name"], package["version"], found["id"], tuple(found["fix_versions"]), summary)


def _reason(errors: str) -> str:
    """Return the last line with an explanation, cleaned of noise: a traceback may end with a bare class name."""
    lines = [line for line in errors.splitlines() if ": " in line and "Tip: " not in line]
    return _NOISE.sub("", lines[-1].strip()) if lines else "pip-audit wrote no error"
