"""The pages of the sandbox under names that are not this machine's, as by DNS rebinding."""

from http.client import HTTPConnection
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI


@pytest.fixture(params=["mailbox_server", "simulator_server"])
def address(request: pytest.FixtureRequest) -> str:
    """The address of one of the two servers."""
    server: tuple[str, FastAPI] = request.getfixturevalue(request.param)
    return server[0]


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:4500", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:4500", "[::1]", "[::1]:4500"]
)
def test_pages_answer_to_names_of_the_loopback_interface(address: str, host: str) -> None:
    for path in ("/", "/health"):
        assert httpx.get(f"{address}{path}", headers={"Host": host}, trust_env=False).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["attacker.example", "attacker.example:4500", "localhost.attacker.example", "127.0.0.1.attacker.example",
     "127.0.0.1:4500.attacker.example", "attacker.example#localhost", "localhost@attacker.example", "127.0.0.2",
     "10.0.0.1", "[::1].attacker.example", "::1", "localhost:", "", "localhost\u00a0"],
)  # fmt: skip
def test_pages_refuse_other_names_whatever_the_path_and_method(address: str, host: str) -> None:
    for method, path in (("GET", "/"), ("GET", "/health"), ("DELETE", "/messages"), ("PUT", "/faults")):
        assert status(address, method, path, host) == 421


def test_a_request_with_two_hosts_or_none_is_refused(address: str) -> None:
    assert status(address, "GET", "/", "localhost", "localhost") in {400, 421}  # the server itself may refuse it
    assert status(address, "GET", "/", "localhost", "attacker.example") in {400, 421}
    assert status(address, "GET", "/") in {400, 421}


def status(address: str, method: str, path: str, *hosts: str) -> int:
    """The status of the answer to a request with these `Host` headers."""
    connection = HTTPConnection(urlsplit(address).netloc, timeout=20)
    connection.putrequest(method, path, skip_host=True)
    for host in hosts:
        connection.putheader("Host", host.encode())
    connection.endheaders()
    answer = connection.getresponse()
    connection.close()
    return answer.status
