from pydantic import SecretStr

from wishcraft.services.operations.production_settings import find_misconfigurations
from wishcraft.settings import Settings


def test_correct_production_settings_have_no_problem_and_no_secret_is_shown(settings: Settings) -> None:
    assert find_misconfigurations(settings) is None
    good = {
        "environment": "production",
        "shopify_origin": "https://{shop}",
        "public_url": "https://registry.example",
        "prefect_ui_url": "https://prefect.example",
        "mail_url": SecretStr("smtps://u:hush@mail.example"),
        "mail_from": "a@b.example",
        "ops_email": "ops@b.example",
        "sentry_dsn": SecretStr("https://hush@sentry.example/1"),
        "prefect_api_auth_string": SecretStr("u:hush"),
        "trusted_proxies": "10.0.0.0/8, shopify",
        "alert_webhook_url": SecretStr("https://hooks.example/hush"),
    }
    assert find_misconfigurations(settings.model_copy(update=good)) == []
    bad = good | {
        "shopify_origin": "http://{shop}",
        "mail_url": SecretStr("smtp://u:hush@mail.example"),
        "prefect_ui_url": "http://prefect.example",
        "encryption_keys": SecretStr("one,two"),
        "cors_origins": "*",
        "trusted_proxies": "10.0.0.0/8, ::/0",
    }
    found = find_misconfigurations(settings.model_copy(update=bad))
    assert found
    assert [name for name, _ in found] == [
        "SHOPIFY_ORIGIN",
        "PREFECT_UI_URL",
        "MAIL_URL",
        "ENCRYPTION_KEYS",
        "TRUSTED_PROXIES",
        "CORS_ORIGINS",
    ]
    assert "hush" not in str(found)
    for url, is_safe in {
        "ses://AKIA:hush@eu-central-1": True,
        "sendgrid://hush@": True,
        "sendgrid://hush@?endpoint=https://proxy.example": True,
        "sendgrid://hush@?endpoint=http://proxy.example": False,
        "ses://AKIA:hush@eu-central-1?endpoint=http://127.0.0.1:1": False,
    }.items():
        found = find_misconfigurations(settings.model_copy(update=good | {"mail_url": SecretStr(url)}))
        assert [name for name, _ in found or []] == ([] if is_safe else ["MAIL_URL"])
    without = find_misconfigurations(settings.model_copy(update=good | {"trusted_proxies": ""}))
    assert without == [("TRUSTED_PROXIES", "is not set: behind a proxy, all guests share the limits of one")]
