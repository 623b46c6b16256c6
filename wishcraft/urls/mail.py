"""MAIL_URL: which provider it names, and how to call it."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import SecretStr

from wishcraft.urls.aws import find_host
from wishcraft.urls.parts import TEXT, Option, UrlError, is_host, read_options, split_url

_EXAMPLE: Final = (
    "smtp://user:password@host:587?starttls, smtps://…, ses://KEY:SECRET@eu-central-1?configuration_set=NAME or "
    "sendgrid://KEY@api.sendgrid.com"
)
_KEY: Final = re.compile(r"[!-~]+", re.ASCII)
"""A key that a header can have."""
_ENDPOINT: Final = {"endpoint": TEXT}
_CONFIGURATION_SET: Final = {"configuration_set": Option("the name of a configuration set", "[A-Za-z0-9_-]{1,64}")}


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Parameters of an SMTP server: `smtp://user:password@host:port?starttls`, or `smtps://` for TLS from the start."""

    host: str
    port: int | None
    """None: the usual one."""
    user: str | None
    password: SecretStr | None
    is_tls: bool
    """TLS from the start."""
    requires_starttls: bool
    """Otherwise STARTTLS is used if the server offers it."""


@dataclass(frozen=True, slots=True)
class SesAccount:
    """Parameters of Amazon SES: `ses://KEY:SECRET@region?configuration_set=NAME`."""

    region: str
    access_key: str | None
    """None: AWS's standard chain (environment, files, container or instance) has the credentials."""
    secret_key: SecretStr | None
    configuration_set: str | None
    endpoint: str


@dataclass(frozen=True, slots=True)
class SendGridAccount:
    """Parameters of SendGrid: `sendgrid://KEY@api.sendgrid.com`, or without a host."""

    key: SecretStr
    endpoint: str


def mail_scheme(url: SecretStr | None) -> str | None:
    """The scheme of MAIL_URL, which chooses the provider; None if it is not set."""
    return url.get_secret_value().partition("://")[0].lower() if url else None


def mail_provider(url: SecretStr | None) -> str:
    """The provider of MAIL_URL, by the name that its events have: `ses`, `sendgrid`, or `smtp`, with TLS or without."""
    scheme = mail_scheme(url)
    return scheme if scheme in {"ses", "sendgrid"} else "smtp"


def read_mail_url(url: SecretStr) -> SmtpServer | SesAccount | SendGridAccount:
    """The provider that MAIL_URL names.

    Raises:
        UrlError: It names none, or a part of it is wrong.
    """
    match mail_scheme(url):
        case "ses":
            return parse_ses(url)
        case "sendgrid":
            return parse_sendgrid(url)
        case _:
            return parse_smtp(url)


def is_encrypted(url: SecretStr) -> bool:
    """Whether mail sent by this MAIL_URL, and its credentials, are encrypted on the way.

    Raises:
        UrlError: As `read_mail_url`.
    """
    provider = read_mail_url(url)
    if isinstance(provider, SmtpServer):
        return provider.is_tls or provider.requires_starttls
    return provider.endpoint.startswith("https://")


def parse_smtp(url: SecretStr) -> SmtpServer:
    """The server of an `smtp://` or `smtps://` URL.

    Raises:
        UrlError: It is another URL, or a part of it is wrong.
    """
    parts = split_url(url.get_secret_value(), _EXAMPLE)
    if parts.scheme not in {"smtp", "smtps"}:
        raise UrlError(_EXAMPLE, "it does not begin so")
    if not parts.hostname:
        raise UrlError(_EXAMPLE, "it names no host")
    _refuse_half_a_login(parts)
    if parts.path not in {"", "/"}:
        raise UrlError(_EXAMPLE, "it has a path")
    if parts.query not in {"", "starttls"}:
        raise UrlError(_EXAMPLE, "it has another option than starttls")
    return SmtpServer(
        parts.hostname,
        parts.port,
        unquote(parts.username) if parts.username else None,
        SecretStr(unquote(parts.password)) if parts.password else None,
        is_tls=parts.scheme == "smtps",
        requires_starttls=parts.scheme == "smtp" and parts.query == "starttls",
    )


def parse_ses(url: SecretStr) -> SesAccount:
    """The account of a `ses://` URL; `?endpoint=` replaces Amazon's address.

    Raises:
        UrlError: A part of it is wrong.
    """
    parts = _split_account(url)
    options = _read_options(parts, _CONFIGURATION_SET | _ENDPOINT)
    region = parts.hostname or ""
    host = find_host("email", region)
    if host is None:
        raise UrlError(_EXAMPLE, "its host is not a region of AWS")
    _refuse_half_a_login(parts)
    if parts.username and not _KEY.fullmatch(unquote(parts.username)):
        raise UrlError(_EXAMPLE, "its key has a space, a control character or one that is not ASCII")
    return SesAccount(
        region,
        unquote(parts.username) if parts.username else None,
        SecretStr(unquote(parts.password)) if parts.password else None,
        options.get("configuration_set"),
        options.get("endpoint", f"https://{host}"),
    )


def parse_sendgrid(url: SecretStr) -> SendGridAccount:
    """The account of a `sendgrid://` URL, whose key is the user or the password; `?endpoint=` replaces its address.

    Raises:
        UrlError: A part of it is wrong.
    """
    parts = _split_account(url)
    options = _read_options(parts, _ENDPOINT)
    keys = [unquote(each) for each in (parts.username, parts.password) if each]
    if len(keys) != 1:
        raise UrlError(_EXAMPLE, "it has two keys" if keys else "it has no key")
    if not _KEY.fullmatch(keys[0]):
        raise UrlError(_EXAMPLE, "its key has a space, a control character or one that is not ASCII")
    return SendGridAccount(
        SecretStr(keys[0]), options.get("endpoint", f"https://{parts.hostname or 'api.sendgrid.com'}")
    )


def _split_account(url: SecretStr) -> SplitResult:
    parts = split_url(url.get_secret_value(), _EXAMPLE)
    if parts.port is not None:
        raise UrlError(_EXAMPLE, "it has a port")
    if parts.path:
        raise UrlError(_EXAMPLE, "it has a path, or a / that is not percent-encoded")
    return parts


def _refuse_half_a_login(parts: SplitResult) -> None:
    if bool(parts.username) != bool(parts.password):
        raise UrlError(_EXAMPLE, "it has a user without a password, or a password without a user")


def _read_options(parts: SplitResult, permitted: dict[str, Option]) -> dict[str, str]:
    """The options in the query, of which the endpoint is an address of HTTP."""
    options = read_options(parts.query, permitted, _EXAMPLE)
    if not _is_endpoint(options.get("endpoint", "https://unset")):
        raise UrlError(_EXAMPLE, "the option endpoint is not a URL such as https://host.example")
    return {name: value.rstrip("/") for name, value in options.items()}


def _is_endpoint(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        has_address = parts.scheme in {"http", "https"} and host != "" and is_host(host) and parts.port != 0
    except ValueError:
        return False
    return has_address and not (parts.username or parts.query or parts.fragment)
