"""The options that URLs of stores may have are those of the stores' clients."""

from typing import Final

import psycopg
import pytest
from redis.asyncio import BlockingConnectionPool, Redis
from sqlalchemy import make_url
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.dialects.postgresql.psycopg import dialect

from deployments.local.environment import prefect_database
from wishcraft.cache.client import connect
from wishcraft.urls import postgresql
from wishcraft.urls import redis as redis_urls
from wishcraft.urls.postgresql import read_postgresql_url
from wishcraft.urls.redis import read_redis_url

VALUES: Final = {
    "db": "3", "health_check_interval": "30", "max_connections": "9", "protocol": "3", "retry_on_timeout": "no",
    "socket_connect_timeout": "1.5", "socket_keepalive": "true", "socket_read_size": "4096", "socket_timeout": "2",
    "ssl_cert_reqs": "optional", "ssl_check_hostname": "False", "ssl_exclude_verify_flags": "VERIFY_X509_STRICT",
    "ssl_include_verify_flags": "VERIFY_X509_STRICT,VERIFY_X509_PARTIAL_CHAIN", "ssl_min_version": "771",
    "timeout": "4",
}  # fmt: skip


@pytest.mark.parametrize(
    ("scheme", "name"), [(scheme, name) for scheme, options in redis_urls.OPTIONS.items() for name in options]
)
def test_every_option_of_a_redis_url_makes_a_connection(scheme: str, name: str) -> None:
    url = read_redis_url(
        f"{scheme}://{'/run/valkey.sock' if scheme == 'unix' else 'h/0'}?{name}={VALUES.get(name, 'x')}"
    )
    assert BlockingConnectionPool.from_url(url).make_connection()  # type: ignore[no-untyped-call]  # untyped in redis-py


@pytest.mark.parametrize("query", ["protocol=2", "protocol=3", "client_name=wishcraft", "socket_timeout=4&timeout=3"])
async def test_redis_answers_by_a_url_with_options(redis: Redis, redis_url: str, query: str) -> None:
    server = connect(read_redis_url(f"{redis_url}?{query}"), timeout=5)
    try:
        assert await server.learn_era() >= 0
        assert (await server.memory()).used
        assert await server.batched_reader.get("none") is None
    finally:
        await server.close()
    assert await redis.ping()


def test_every_option_of_a_postgresql_url_is_one_of_libpq() -> None:
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    assert set(postgresql.OPTIONS) <= known
    assert {"replication", "scram_client_key", "sslkeylogfile"} <= known - set(postgresql.OPTIONS)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@/w?host=a:5432&host=b:5433&target_session_attrs=read-write",
        "postgresql://u:p@/w?host=a,b&port=5432,5433",
        "postgresql://u:p@/w?host=/run/a,/run/b&port=5432,5433",
        "postgresql://u:p@/w?host=/cloudsql/project:region:instance&port=5433",
        "postgresql://u:p@/w?host=::1",
        "postgresql://u:p@/w?host=a:5432",
        "postgresql://u:p@a,b:5432/w",
        "postgresql://u:p@[fe80::1%eth0]/w",
        "postgresql://u:p@h/w?sslmode=verify-full&sslrootcert=/etc/ca.pem",
    ],
)
def test_hosts_and_certificates_in_a_postgresql_url_reach_libpq(url: str) -> None:
    _, parameters = dialect().create_connect_args(make_url(read_postgresql_url(url)))  # type: ignore[no-untyped-call]
    assert psycopg.conninfo.make_conninfo(**{name: value for name, value in parameters.items() if name != "context"})


@pytest.mark.parametrize(
    ("query", "hosts", "ports"),
    [
        ("host=a&host=b", ["a", "b"], [5432, 5432]),
        ("host=a:1&sslmode=require&host=b:2", ["a", "b"], [1, 2]),
        ("host=a:1&host=b", ["a", "b"], [1, 5432]),
        ("host=a,b", ["a", "b"], [5432, 5432]),
        ("host=a,b&port=1&port=2", ["a", "b"], [1, 2]),
        ("host=%2Frun%2Fa&h%6Fst=/run/b", ["/run/a", "/run/b"], [5432, 5432]),
        ("host=a:1", ["a"], [1]),
        ("host=%40wishcraft&port=1", ["@wishcraft"], [1]),
    ],
)
def test_all_drivers_read_the_same_hosts_in_a_postgresql_url(query: str, hosts: list[str], ports: list[int]) -> None:
    url = read_postgresql_url(f"postgresql://u:p@/w?{query}")
    assert read_postgresql_url(url) == url
    _, ours = dialect().create_connect_args(make_url(url))  # type: ignore[no-untyped-call]
    of_libpq = psycopg.conninfo.conninfo_to_dict(url.replace("+psycopg", ""))
    for found in (ours, of_libpq):
        assert (str(found["host"]).split(","), list(map(int, str(found["port"]).split(",")))) == (hosts, ports)
    _, prefects = asyncpg.dialect().create_connect_args(make_url(prefect_database(url, {})))  # type: ignore[no-untyped-call]
    several = len(hosts) > 1
    assert (prefects["host"], prefects["port"]) == ((hosts, ports) if several else (hosts[0], ports[0]))


@pytest.mark.parametrize(
    ("login", "user", "password"),
    [
        ("u:a/b?c#d[e]%f", "u", "a/b?c#d[e]%f"),
        ("u:a%2Fb%25", "u", "a/b%"),
        ("u:a:b+c é", "u", "a:b+c é"),
        ("u%40h", "u@h", None),
        ("u/v:p", "u/v", "p"),
    ],
)
def test_login_in_a_postgresql_url_is_the_same_for_sqlalchemy_and_libpq(
    login: str, user: str, password: str | None
) -> None:
    url = read_postgresql_url(f"postgresql://{login}@h:5432/w?sslmode=require")
    read = make_url(url)
    assert (read.username, read.password, read.host, read.database) == (user, password, "h", "w")
    of_libpq = psycopg.conninfo.conninfo_to_dict(url.replace("+psycopg", ""))
    assert (of_libpq["user"], of_libpq.get("password"), of_libpq["host"]) == (user, password, "h")
    assert read_postgresql_url(url) == url
