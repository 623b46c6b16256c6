"""The secrets of the settings."""

import pytest
from pydantic import SecretStr

from wishcraft.observability.sentry import secrets_of
from wishcraft.settings import Settings


@pytest.mark.parametrize(
    ("url", "passwords"),
    [
        ("redis://:hunter22@host:6379/0", {"hunter22"}),
        ("redis://app:hun%40ter@host:6379/0", {"hun%40ter", "hun@ter"}),
        ("redis://app:hun[ter@host:6379/0", {"hun[ter"}),
        ("redis://app:hun@ter@host:6379/0", {"hun@ter"}),
        ("postgresql:///w?password=hun%40ter&sslpassword=bunter", {"hun%40ter", "hun@ter", "bunter"}),
    ],
)
def test_a_url_password_is_a_secret_encoded_and_decoded(settings: Settings, url: str, passwords: set[str]) -> None:
    for name in ("redis_url", "database_url", "database_replica_url"):
        assert passwords <= secrets_of(settings.model_copy(update={name: url}))


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("sendgrid://SG.hunter%2F22@api.sendgrid.com", {"SG.hunter%2F22", "SG.hunter/22"}),
        ("sendgrid://:SG.hunter@", {"SG.hunter"}),
        ("ses://AKIA:hunter%2F22@eu-central-1", {"hunter%2F22", "hunter/22"}),
    ],
)
def test_the_key_of_a_mail_provider_is_a_secret(settings: Settings, url: str, secrets: set[str]) -> None:
    assert secrets <= secrets_of(settings.model_copy(update={"mail_url": SecretStr(url)}))


@pytest.mark.parametrize(
    ("login", "secrets"), [("ops:hunter22", {"ops:hunter22", "hunter22"}), ("hunter22", {"hunter22"})]
)
def test_prefects_password_is_a_secret_with_and_without_its_user(
    settings: Settings, login: str, secrets: set[str]
) -> None:
    found = secrets_of(settings.model_copy(update={"prefect_api_auth_string": SecretStr(login)}))
    assert secrets <= found
    assert "" not in found
