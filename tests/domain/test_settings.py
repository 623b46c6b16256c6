import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from tests.support.settings_environment import COMPLETE
from wishcraft.errors import ConfigurationError
from wishcraft.settings import SECRETS, DatabaseSettings, JobSettings, Settings, load, settings, time_zone


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A complete environment, and nothing else of ours; no later test gets settings that were read here."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in COMPLETE.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg"])
def test_every_postgresql_url_is_accepted(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{scheme}://u:p@db/wishcraft")
    assert settings().database_url == "postgresql+psycopg://u:p@db/wishcraft"


def test_all_missing_or_invalid_settings_are_named_without_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_URL")
    monkeypatch.setenv("DATABASE_URL", "mysql://root:s3cret@db")
    with pytest.raises(ConfigurationError) as raised:
        settings()
    assert "REDIS_URL" in str(raised.value)
    assert "DATABASE_URL" in str(raised.value)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_PORT", "65536"),
        ("DRAIN_SECONDS", "inf"),
        ("DRAIN_SECONDS", "nan"),
        ("INVITATIONS_PER_SHOP", "9" * 30),
        ("RATE_LIMIT_PER_MINUTE", "0"),
    ],
)
def test_number_out_of_range_is_named_with_its_setting(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name):
        settings()


INVALID = [
    ("SENTRY_DSN", "abc"), ("SENTRY_DSN", "https://sentry.example/1"), ("SENTRY_DSN", "https://hush@sentry.example/x"),
    ("DATABASE_URL", "nonsense"), ("DATABASE_URL", "postgresql://u:hush@db:port/w"), ("DATABASE_URL", ""),
    ("DATABASE_REPLICA_URL", "postgresql://db:99999/w"), ("REDIS_URL", "ftp://x"), ("REDIS_URL", "redis://h:hush"),
    ("REDIS_URL", "redis://[h"), ("REDIS_URL", "redis://h/name"), ("REDIS_URL", ""), ("TZ", "Mars/Olympus"),
    ("ENCRYPTION_KEYS", "hush"), ("ENCRYPTION_KEYS", f"{COMPLETE['ENCRYPTION_KEYS']},"), ("ENCRYPTION_KEYS", ""),
    ("ENCRYPTION_KEYS", "ключ"), ("PREFECT_API_AUTH_STRING", "hush"), ("PREFECT_API_AUTH_STRING", "user:"),
    ("PREFECT_API_URL", "nope"), ("PREFECT_UI_URL", "nope"), ("PUBLIC_URL", "nope"),
    ("PUBLIC_URL", "https://a.example?b"), ("PUBLIC_URL", "https://a.example:port"), ("SNS_ORIGIN", "nope"),
    ("TRUSTED_PROXIES", "abc"), ("CORS_ORIGINS", "nope"), ("CORS_ORIGINS", "https://a.example/path"),
    ("OPS_EMAIL", "notmail"), ("MAIL_FROM", "Emma <a@b.example>"), ("MAIL_FROM", "zoë@b.example"),
    ("SHOPIFY_API_VERSION", "zz"),
    ("SHOPIFY_API_VERSION", "2026-11"), ("SHOPIFY_ORIGIN", "https://{name}"), ("SHOPIFY_ORIGIN", "https://{"),
    ("SHOPIFY_API_KEY", ""), ("SHOPIFY_API_SECRET", ""), ("DNS_SERVER", "dns.example"), ("DNS_SERVER", "192.0.2.1:x"),
    ("DASK_ADDRESS", "dask"), ("ALERT_WEBHOOK_URL", "hush"), ("FILES_URL", "s3://hush"),
    ("MAIL_URL", "hush"), ("MAIL_URL", "smtp://"), ("BOUNCE_URL", "lmtp://127.0.0.1"),
    ("BOUNCE_ADDRESS", "a+b@c.example"), ("BOUNCE_ADDRESS", "bounces"), ("BOUNCE_ADDRESS", "elevenchars@c.example"),
    ("BOUNCE_ADDRESS", "zoë@c.example"), ("SES_TOPIC_ARNS", "mail"), ("SENDGRID_WEBHOOK_KEY", "zz"),
    ("SENDGRID_WEBHOOK_KEY", "zzzz"), ("BOUNCE_URL", "lmtp://127.0.0.1:2424/hush"), ("API_HOST", "no such host"),
    ("API_HOST", "[::1]"), ("DASK_ADDRESS", "ftp://dask:8786"), ("DASK_ADDRESS", "tcp://dask:8786/hush"),
    ("DKIM_SELECTORS", "a b, /x"), ("RUNBOOK_URL", "ftp://hush"), ("API_HOST", "99999999999"),
    ("API_HOST", "256.1.1.1"), ("SHOPIFY_API_KEY", "  "), ("SHOPIFY_API_SECRET", "  "), ("METRICS_TOKEN", "hüsh"),
    ("SHOPIFY_API_SECRET_PREVIOUS", " "), ("PREFECT_API_AUTH_STRING", "http://"),
    ("PREFECT_API_AUTH_STRING", "https://hush"), ("PUBLIC_URL", "https://bücher.example"),
    ("PUBLIC_URL", "https://a.example/?"), ("CORS_ORIGINS", "https://Shop.example"), ("CORS_ORIGINS", "https://ü.example"),
    ("CORS_ORIGINS", "https://a.example:443"), ("CORS_ORIGINS", "https://hush@a.example"),
    ("SHOPIFY_API_SECRET", "hush\n"), ("SHOPIFY_API_SECRET_PREVIOUS", "hush "), ("SHOPIFY_API_KEY", " hush"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), INVALID)
def test_invalid_text_is_named_with_its_setting_alone(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"^{name}: ") as raised:
        settings()
    assert not re.search("; [A-Z_]+: ", str(raised.value))
    assert "hush" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SENTRY_DSN", "https://key@o1.ingest.sentry.example/prefix/4501"),
        ("DATABASE_URL", "postgresql:///wishcraft?host=/run/postgresql"),
        ("DATABASE_URL", "postgresql://u:p/#[w@[::1]:5432/wishcraft?sslmode=require"),
        ("REDIS_URL", "rediss://:password@redis.example:6380/1?ssl_cert_reqs=none"),
        ("REDIS_URL", "unix:///run/valkey.sock?db=1"),
        ("ENCRYPTION_KEYS", f"{COMPLETE['ENCRYPTION_KEYS']}, {COMPLETE['ENCRYPTION_KEYS']}"),
        ("PREFECT_API_AUTH_STRING", "ops:pass:word"),
        ("CORS_ORIGINS", "https://a.example, http://localhost:3000"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "http://shop.example:443,https://xn--bcher-kva.example,http://[::1]:3000"),
        ("SHOPIFY_ORIGIN", "http://127.0.0.1:4400/{shop}"),
        ("SHOPIFY_API_VERSION", "unstable"),
        ("MAIL_FROM", "post@bücher.example"),
        ("MAIL_URL", "sendgrid://KEY@"),
        ("SES_TOPIC_ARNS", "arn:aws:sns:eu-central-1:1:other, arn:aws-cn:sns:cn-north-1:123456789012:mail.fifo"),
        ("DNS_SERVER", "[2001:db8::1]:53"),
        ("API_HOST", "::"),
        ("API_HOST", "api.internal"),
        ("DKIM_SELECTORS", "mail1, s2.eu,"),
        ("RUNBOOK_URL", "https://docs.example/?page="),
    ],
)
def test_unusual_but_valid_text_is_accepted(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert settings()


def test_address_has_its_domain_as_headers_need_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_FROM", " Post@bücher.example")
    monkeypatch.setenv("BOUNCE_ADDRESS", " Bounces@bücher.example")
    assert settings().mail_from == "post@xn--bcher-kva.example"
    assert settings().bounce_address == "bounces@xn--bcher-kva.example"


def test_each_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = dict(settings())
    settings.cache_clear()
    for name in Settings.model_fields.keys() - {name.lower() for name in COMPLETE}:
        monkeypatch.setenv(name.upper(), "")
    assert dict(settings()) == expected
    assert dict(load(Settings, {"RUNBOOK_URL": "", "DATABASE_REPLICA_URL": ""})) == expected


def test_empty_variable_hides_no_file_and_an_empty_file_counts_as_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MAIL_FROM", "")
    (tmp_path / "mail_from").write_text("gifts@files.example")
    (tmp_path / "shopify_api_version").write_text("\n")
    read = Settings(_secrets_dir=tmp_path)
    assert (read.mail_from, read.shopify_api_version) == ("gifts@files.example", "2026-10")


def test_empty_variable_that_is_required_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "")
    with pytest.raises(ConfigurationError, match=r"REDIS_URL: is missing \(Redis 7"):
        settings()


def test_the_settings_repr_shows_no_secret() -> None:
    assert "hush" not in repr(settings())


def test_settings_missing_in_the_environment_are_read_from_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("DATABASE_URL", "SHOPIFY_API_SECRET"):
        monkeypatch.delenv(name)
    (tmp_path / "database_url").write_text("postgresql://u:p@files/wishcraft\n")
    (tmp_path / "shopify_api_secret").write_text("from-a-file\n")
    (tmp_path / "redis_url").write_text("redis://not-this-one\n")
    (tmp_path / "alert_webhook_url").write_text("https://alerts.example\n")
    read = Settings(_secrets_dir=tmp_path)
    assert read.database_url == "postgresql+psycopg://u:p@files/wishcraft"
    assert read.shopify_api_secret.get_secret_value() == "from-a-file"
    assert read.redis_url == COMPLETE["REDIS_URL"]
    assert DatabaseSettings(_secrets_dir=tmp_path).database_url == read.database_url
    assert JobSettings(_secrets_dir=tmp_path).alert_webhook_url == SecretStr("https://alerts.example")


@pytest.mark.parametrize("kind", [Settings, DatabaseSettings, JobSettings])
def test_secret_files_are_read_where_docker_and_kubernetes_mount_them(kind: type[BaseSettings]) -> None:
    mounted = [SECRETS] if SECRETS.is_dir() else []
    assert kind.model_config["secrets_dir"] == mounted


@pytest.mark.parametrize("name", ["Europe/Nowhere", "Europe", "../etc/passwd", "New York"])
def test_unknown_time_zone_is_named_with_its_setting(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("TZ", name)
    with pytest.raises(ConfigurationError, match=r"TZ: .*such as America/New_York"):
        time_zone()
    with pytest.raises(ConfigurationError, match="TZ: "):
        settings()


def test_time_zone_is_that_of_tz_or_new_yorks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert time_zone().key == "America/New_York"
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert time_zone().key == settings().tz == "Asia/Tokyo"
