"""Reads MAIL_URL, MAIL_FROM and BOUNCE_ADDRESS. No error message shows a value."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from pydantic import SecretStr

from wishcraft.domain.addresses import MAX_BOUNCE_LOCAL, normalise, normalise_bounce_address
from wishcraft.errors import ConfigurationError

MALFORMED: Final = (
    "MAIL_URL must look like smtp://user:password@host:587?starttls, smtps://…, "
    "ses://KEY:SECRET@eu-central-1?configuration_set=NAME or sendgrid://KEY@api.sendgrid.com, with special characters "
    "of a key percent-encoded"
)
_REGION: Final = re.compile(r"[a-z]{2}(?:-[a-z]+){1,2}-\d{1,2}", re.ASCII)
_KEY: Final = re.compile(r"[!-~]+", re.ASCII)
"""A key that a header can have."""
_CONFIGURATION_SET: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class SesAccount:
    """How to call Amazon SES: `ses://KEY:SECRET@region?configuration_set=NAME`."""

    region: str
    access_key: str | None
    """None: AWS's standard chain (environment, files, container or instance) has the credentials."""
    secret_key: SecretStr | None
    configuration_set: str | None
    endpoint: str


@dataclass(frozen=True, slots=True)
class SendGridAccount:
    """How to call SendGrid: `sendgrid://KEY@api.sendgrid.com`, or without a host."""

    key: SecretStr
    endpoint: str


def mail_scheme(url: SecretStr | None) -> str | None:
    """The scheme of MAIL_URL, which chooses the provider; None if it is not set."""
    return url.get_secret_value().partition("://")[0].lower() if url else None


def mail_provider(url: SecretStr | None) -> str:
    """The provider of MAIL_URL, by the name that its events have: `ses`, `sendgrid`, or `smtp`, with TLS or without."""
    scheme = mail_scheme(url)
    return scheme if scheme in {"ses", "sendgrid"} else "smtp"


def is_encrypted(url: SecretStr) -> bool:
    """Whether mail sent by this MAIL_URL, and its credentials, are encrypted on the way.

    Raises:
        ConfigurationError: The URL is malformed.
    """
    match mail_scheme(url):
        case "ses":
            return parse_ses(url).endpoint.startswith("https://")
        case "sendgrid":
            return parse_sendgrid(url).endpoint.startswith("https://")
        case scheme:
            return scheme == "smtps" or urlsplit(url.get_secret_value()).query == "starttls"


def parse_ses(url: SecretStr) -> SesAccount:
    """The account of a `ses://` URL; `?endpoint=` replaces Amazon's address.

    Raises:
        ConfigurationError: The URL is malformed.
    """
    parts = _split(url)
    options = _options(parts, {"configuration_set", "endpoint"})
    region = parts.hostname or ""
    configuration_set = options.get("configuration_set")
    if (
        not _REGION.fullmatch(region)
        or bool(parts.username) != bool(parts.password)
        or (parts.username and not _KEY.fullmatch(unquote(parts.username)))
        or (configuration_set is not None and not _CONFIGURATION_SET.fullmatch(configuration_set))
    ):
        raise ConfigurationError(MALFORMED)
    return SesAccount(
        region,
        unquote(parts.username) if parts.username else None,
        SecretStr(unquote(parts.password)) if parts.password else None,
        configuration_set,
        options.get("endpoint", f"https://email.{region}.amazonaws.com"),
    )


def parse_sendgrid(url: SecretStr) -> SendGridAccount:
    """The account of a `sendgrid://` URL, whose key is the user or the password; `?endpoint=` replaces its address.

    Raises:
        ConfigurationError: The URL is malformed.
    """
    parts = _split(url)
    options = _options(parts, {"endpoint"})
    keys = [each for each in (parts.username, parts.password) if each]
    if len(keys) != 1 or not _KEY.fullmatch(unquote(keys[0])):
        raise ConfigurationError(MALFORMED)
    endpoint = options.get("endpoint", f"https://{parts.hostname or 'api.sendgrid.com'}")
    return SendGridAccount(SecretStr(unquote(keys[0])), endpoint)


def parse_sender(mail_from: str | None) -> str:
    """The normalised address of MAIL_FROM; empty in a process that sends no mail.

    Raises:
        ConfigurationError: It is no address.
    """
    sender = normalise(mail_from or "") or ""
    if mail_from is not None and not sender:
        raise ConfigurationError("MAIL_FROM must be an address, such as registry@example.com")
    return sender


def parse_bounce_address(address: str | None) -> str | None:
    """The normalised BOUNCE_ADDRESS, whose local part leaves room for a reference.

    Raises:
        ConfigurationError: It is no address, or its local part is too long.
    """
    if not address:  # empty, as Compose passes on a variable that is not set
        return None
    found = normalise_bounce_address(address)
    if found is None:
        raise ConfigurationError(
            f"BOUNCE_ADDRESS must be an address with at most {MAX_BOUNCE_LOCAL} characters before the @ and no +, "
            "such as bounces@example.com"
        )
    return found


def _split(url: SecretStr) -> SplitResult:
    try:
        parts = urlsplit(url.get_secret_value())
        has_port = parts.port is not None
    except ValueError:
        raise ConfigurationError(MALFORMED) from None
    if has_port or parts.path or parts.fragment:
        raise ConfigurationError(MALFORMED)
    return parts


def _options(parts: SplitResult, permitted: set[str]) -> dict[str, str]:
    """The options in the query.

    Raises:
        ConfigurationError: One is unknown, repeated or empty, or the endpoint is no address of HTTP.
    """
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        options = dict(pairs)
        endpoint = urlsplit(options.get("endpoint", "https://unset"))
        is_address = endpoint.scheme in {"http", "https"} and endpoint.hostname and endpoint.port != 0
    except ValueError:
        raise ConfigurationError(MALFORMED) from None
    if len(options) < len(pairs) or set(options) - permitted or not all(options.values()):
        raise ConfigurationError(MALFORMED)
    if not is_address or endpoint.username or endpoint.query or endpoint.fragment:
        raise ConfigurationError(MALFORMED)
    return {name: value.rstrip("/") for name, value in options.items()}
