"""MAIL_URL: the account that it names, and the provider that it chooses."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from wishcraft.errors import ConfigurationError
from wishcraft.mail.providers.sendgrid import SendGridMailer
from wishcraft.mail.providers.ses import SesMailer
from wishcraft.mail.providers.smtp import SmtpMailer
from wishcraft.resources import open_resources
from wishcraft.settings import Settings
from wishcraft.urls.mail import parse_sendgrid, parse_ses


def test_a_url_of_ses_names_region_credentials_and_configuration_set() -> None:
    account = parse_ses(SecretStr("ses://AKIA:se%2Fcret@eu-central-1?configuration_set=mail"))
    assert (account.region, account.access_key, account.configuration_set) == ("eu-central-1", "AKIA", "mail")
    assert account.secret_key
    assert account.secret_key.get_secret_value() == "se/cret"
    assert account.endpoint == "https://email.eu-central-1.amazonaws.com"
    assert "se/cret" not in repr(account)


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eusc-de-east-1", "email.eusc-de-east-1.amazonaws.eu"),
        ("us-gov-west-1", "email.us-gov-west-1.amazonaws.com"),
        ("cn-northwest-1", "email.cn-northwest-1.amazonaws.com.cn"),
        ("us-isob-east-1", "email.us-isob-east-1.sc2s.sgov.gov"),
    ],
)
def test_a_region_of_ses_leads_to_the_host_of_its_partition(region: str, host: str) -> None:
    assert parse_ses(SecretStr(f"ses://{region}")).endpoint == f"https://{host}"


def test_a_url_of_ses_without_a_key_leaves_the_credentials_to_awss_chain() -> None:
    account = parse_ses(SecretStr("ses://us-gov-west-1"))
    assert (account.access_key, account.secret_key) == (None, None)


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("sendgrid://SG.a%2Fb@api.eu.sendgrid.com", "https://api.eu.sendgrid.com"),
        ("sendgrid://:SG.a%2Fb@", "https://api.sendgrid.com"),
        ("sendgrid://SG.a%2Fb@?endpoint=http://127.0.0.1:1/x/", "http://127.0.0.1:1/x"),
    ],
)
def test_a_url_of_sendgrid_names_key_and_host(url: str, endpoint: str) -> None:
    account = parse_sendgrid(SecretStr(url))
    assert (account.key.get_secret_value(), account.endpoint) == ("SG.a/b", endpoint)
    assert "SG.a" not in repr(account)


@pytest.mark.parametrize(
    ("parse", "url"),
    [
        *((parse_ses, url) for url in (
            "ses://hush:hush@", "ses://hush@eu-central-1", "ses://hush:hush/hush@eu-central-1",
            "ses://hush:hush@eu-central-1?region=hush", "ses://hush:hush@eu-central-1?configuration_set=hush!",
            "ses://hush:hush@eu-central-1?endpoint=ftp://hush", "ses://hush:hush@eu-central-1?endpoint=http://h:hush",
            "ses://hush:hush@eu-central-1?endpoint=https://a&endpoint=https://b", "ses://[hush",
            "ses://hush:hush@eu-central-1/hush", "ses://hush%0A:hush@eu-central-1",
        )),
        *((parse_sendgrid, url) for url in (
            "sendgrid://api.sendgrid.com/hush", "sendgrid://hush%0A@", "sendgrid://hush@?categories=hush",
            "sendgrid://hush@?endpoint=https://u:hush@host",
        )),
    ],
)  # fmt: skip
def test_a_malformed_url_is_refused_without_being_shown(parse: Callable[[SecretStr], Any], url: str) -> None:
    with pytest.raises(ConfigurationError, match="must look like") as caught:
        parse(SecretStr(url))
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "kind"),
    [("smtp://host", SmtpMailer), ("ses://eu-central-1", SesMailer), ("sendgrid://key@", SendGridMailer)],
)
async def test_the_scheme_of_mail_url_chooses_the_provider(settings: Settings, url: str, kind: type) -> None:
    async with open_resources(settings.model_copy(update={"mail_url": SecretStr(url)})) as resources:
        assert type(resources.mailer) is kind
