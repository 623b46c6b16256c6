"""`make audit` with the real pip-audit and a fake vulnerability service."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from deployments.sandbox.processes import choose_port
from deployments.vulnerabilities import UNKNOWN, VULNERABLE, main
from tests.support.http_server import served
from wishcraft.services.operations.vulnerabilities import LOCK, Vulnerability, audit

HASH = "--hash=sha256:5a811826e1a5a06c25ebc3e6c4a704613eb9a1bcf6b78428fbe865f4f6c9a4b8"
KNOWN = {
    "id": "GHSA-test",
    "summary": "A template can leave its sandbox.",
    "affected": [
        {
            "package": {"name": "jinja2", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.0"}]}],
        }
    ],
}


class VulnerabilityService:
    """A fake of OSV's query API that records the queries."""

    def __init__(self) -> None:
        self.queried: dict[str, str] = {}
        self.known: dict[str, Any] = {}
        self.status = 200

    async def answer(self, request: Request) -> Response:
        query = await request.json()
        name = query["package"]["name"]
        self.queried[name] = query["version"]
        return JSONResponse({"vulns": [self.known[name]]} if name in self.known else {}, self.status)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[VulnerabilityService]:
    service = VulnerabilityService()
    app = FastAPI()
    app.add_api_route("/v1/query", service.answer, methods=["POST"], response_model=None)
    with served(app) as address:
        monkeypatch.setenv("PIP_AUDIT_OSV_URL", f"{address}/v1/query")
        yield service


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """Two locked packages."""
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"jinja2==3.1.2 {HASH}\nmarkupsafe==3.0.1 {HASH}\n")
    return lock


def test_audit_queries_every_locked_package_and_fails_for_a_vulnerable_one(
    service: VulnerabilityService, capsys: pytest.CaptureFixture[str]
) -> None:
    service.known["jinja2"] = KNOWN
    assert main() == VULNERABLE
    assert "jinja2" in (output := capsys.readouterr().out)
    assert "GHSA-test, fixed in 99.0. A template can leave its sandbox." in output
    locked = re.findall(r"^([a-z0-9._-]+)(?:\[.*?\])?==([^ ]+)", LOCK.read_text(), re.MULTILINE)
    assert {(name.replace(".", "-"), version) for name, version in locked} == set(service.queried.items())


async def test_audit_result_has_the_details_of_a_vulnerability(service: VulnerabilityService, lock: Path) -> None:
    service.known["jinja2"] = KNOWN
    result = await audit(lock)
    assert result.vulnerabilities == (
        Vulnerability("jinja2", "3.1.2", "GHSA-test", ("99.0",), "A template can leave its sandbox."),
    )


async def test_packages_without_vulnerabilities_are_clean(service: VulnerabilityService, lock: Path) -> None:
    result = await audit(lock)
    assert (result.packages, result.vulnerabilities, result.unreachable) == (2, (), None)
    assert set(service.queried) == {"jinja2", "markupsafe"}


def test_unreachable_service_is_not_a_clean_result(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_AUDIT_OSV_URL", f"http://127.0.0.1:{choose_port('nothing', None, tmp_path / 'port')}/")
    assert main() == UNKNOWN
    output = capsys.readouterr().out
    assert output.startswith("Nothing was audited")
    assert output.endswith("\n  Connection refused\n")


async def test_service_error_is_not_a_clean_result(service: VulnerabilityService, lock: Path) -> None:
    service.status = 503
    result = await audit(lock)
    assert result.unreachable == "503 Server Error: Service Unavailable"


@pytest.fixture
def lock_with_an_address(lock: Path) -> Path:
    """Two locked packages and one without a version."""
    lock.write_text(f"{lock.read_text()}odd @ https://example.com/odd-1.0.tar.gz {HASH}\n")
    return lock


@pytest.mark.usefixtures("service")
async def test_packages_that_cannot_be_queried_are_not_clean(lock_with_an_address: Path) -> None:
    result = await audit(lock_with_an_address)
    assert str(result.unreachable).startswith("1 of 3 packages")
    assert result.packages == 0
