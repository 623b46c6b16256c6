import pytest

from wishcraft.errors import ConfigurationError
from wishcraft.settings import Settings, settings

COMPLETE = {
    "DATABASE_URL": "postgres://u:p@db/wishcraft",
    "REDIS_URL": "redis://r",
    "ENCRYPTION_KEYS": "k",
    "SHOPIFY_API_KEY": "id",
    "SHOPIFY_API_SECRET": "hush",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a complete environment holds, and nothing else of ours."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in COMPLETE.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg"])
def test_every_postgresql_url_is_understood(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{scheme}://u:p@db/wishcraft")
    assert settings().database_url == "postgresql+psycopg://u:p@db/wishcraft"


def test_all_that_is_missing_or_wrong_is_named_at_once_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_URL")
    monkeypatch.setenv("DATABASE_URL", "mysql://root:s3cret@db")
    with pytest.raises(ConfigurationError) as raised:
        settings()
    assert "REDIS_URL" in str(raised.value)
    assert "DATABASE_URL" in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_secrets_do_not_show_themselves() -> None:
    assert "hush" not in repr(settings())
