"""Messages of drivers, translated into what a person has to mend."""

import httpx
import pytest

from wishcraft.errors import CacheUnavailable, DatabaseUnavailable
from wishcraft.services.health.unreachable import DATABASE, HOST, LOGIN, TLS, UNKNOWN, say_why

REQUEST = httpx.Request("GET", "http://prefect.example/api/health")


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ('connection failed: FATAL:  password authentication failed for user "app"', LOGIN),
        ('connection failed: FATAL:  role "app" does not exist', LOGIN),
        ("AuthenticationError: invalid username-password pair or user is disabled.", LOGIN),
        ("failed to resolve host 'db.example': [Errno -2] Name or service not known", HOST),
        ("ConnectionError: Error -3 connecting to redis:6379. Temporary failure in name resolution.", HOST),
        ('connection failed: FATAL:  database "registry" does not exist', DATABASE),
        ("ResponseError: DB index is out of range", DATABASE),
        ("connection failed: server does not support SSL, but SSL was required", TLS),
        ("connection failed: Connection refused", UNKNOWN),
        ("TimeoutError: Timeout connecting to server", UNKNOWN),
    ],
)
def test_what_a_driver_says_becomes_what_to_mend(said: str, meaning: str) -> None:
    assert say_why(DatabaseUnavailable(f"operational error: {said}")) == say_why(CacheUnavailable(said)) == meaning


@pytest.mark.parametrize(("status", "meaning"), [(401, LOGIN), (403, LOGIN), (503, UNKNOWN)])
def test_status_of_prefect_says_whether_it_refuses_the_login(status: int, meaning: str) -> None:
    error = httpx.HTTPStatusError("refused", request=REQUEST, response=httpx.Response(status, request=REQUEST))
    assert say_why(error) == meaning
