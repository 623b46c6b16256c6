"""Asks OSV (osv.dev) which of the locked dependencies have known vulnerabilities.

What was not looked up is never called clean: without an answer about every package, the result is a reason.
"""

import asyncio
import json
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

LOCK: Final = Path(__file__).resolve().parents[2] / "requirements.lock"
AUDIT_SECONDS: Final = 300.0
"""For some two hundred packages, which are asked about one after the other."""
_ANSWER_SECONDS: Final = 10
_NOISE: Final = re.compile(r"^.*(?:\[[^]]+\]|port=\d+\):) |^[\w.]+: |[\"')]+$|\.? \(.*$| for url: .*$")
"""What of an exception's line tells people nothing: its class, its host, what it was caused by."""


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """One that is known in a version that is installed; `fixed_in` is empty if no release is without it."""

    package: str
    version: str
    id: str
    fixed_in: tuple[str, ...]
    summary: str


@dataclass(frozen=True, slots=True)
class AuditResult:
    """What is known about so many packages; or, in `unreachable`, why it is not known, and then nothing else."""

    packages: int = 0
    vulnerabilities: tuple[Vulnerability, ...] = ()
    unreachable: str | None = None


async def audit(lock: Path = LOCK) -> AuditResult:
    """Look up what is locked; raises nothing. Another address than OSV's can be had by PIP_AUDIT_OSV_URL.

    Args:
        lock: Requirements with a version and hashes each.
    """
    with tempfile.TemporaryDirectory() as cache:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pip_audit", "--vulnerability-service", "osv", "--disable-pip", "--requirement",
            lock, "--format", "json", "--progress-spinner", "off", "--timeout", str(_ANSWER_SECONDS),
            "--cache-dir", cache, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(AUDIT_SECONDS):
                output, errors = await process.communicate()
        except TimeoutError:
            return AuditResult(unreachable=f"not done after {AUDIT_SECONDS:.0f} s")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    return _result(output.decode(), errors.decode())


def _result(output: str, errors: str) -> AuditResult:
    try:
        report = json.loads(output)
    except ValueError:  # it ends with a report or with an error, and with code 1 for both
        return AuditResult(unreachable=_reason(errors))
    packages = report["dependencies"]
    skipped = [each["skip_reason"] for each in packages if "skip_reason" in each]
    if skipped:
        return AuditResult(unreachable=f"{len(skipped)} of {len(packages)} packages: {skipped[0]}")
    return AuditResult(len(packages), tuple(_vulnerability(each, one) for each in packages for one in each["vulns"]))


def _vulnerability(package: dict[str, Any], found: dict[str, Any]) -> Vulnerability:
    summary = found["description"].strip()
    return Vulnerability(package["name"], package["version"], found["id"], tuple(found["fix_versions"]), summary)


def _reason(errors: str) -> str:
    """The last line that explains anything, in plain words: tracebacks may end in an error's bare name."""
    lines = [line for line in errors.splitlines() if ": " in line and "Tip: " not in line]
    return _NOISE.sub("", lines[-1].strip()) if lines else "pip-audit said nothing"
