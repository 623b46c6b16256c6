"""Types of settings: what each must look like. Their errors say what is expected, and show no value."""

import binascii
import re
from base64 import b64decode, urlsafe_b64decode
from collections.abc import Callable
from ipaddress import ip_address
from typing import Annotated, Final, TypeVar
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, SecretStr

from wishcraft.domain.addresses import MAX_BOUNCE_LOCAL, normalise, normalise_bounce_address
from wishcraft.domain.mail_domains import is_selector
from wishcraft.domain.networks import parse_proxies
from wishcraft.files import folder_of
from wishcraft.urls.mail import read_mail_url
from wishcraft.urls.postgresql import read_postgresql_url
from wishcraft.urls.redis import read_redis_url

Text = TypeVar("Text", str, SecretStr)

_FERNET_BYTES: Final = 32
_HOST_NAME: Final = re.compile("[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_DASK_PROTOCOLS: Final = {"tcp", "tls", "ucx", "ucxx", "ws", "wss"}
_TOPIC: Final = re.compile(r"arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]+:[A-Za-z0-9_.-]+")
_API_VERSION: Final = re.compile(r"20[0-9]{2}-(?:01|04|07|10)|unstable")


def _matching(is_valid: Callable[[str], object], expected: str) -> AfterValidator:
    """A validator of a text or secret, which it leaves unchanged. An empty one is valid: defaults are checked, too.

    Args:
        is_valid: Whether a text that is not empty is valid; a ValueError says that it is not.
        expected: The message of the error.
    """

    def check(value: Text) -> Text:
        text = value if isinstance(value, str) else value.get_secret_value()
        try:
            valid = not text or is_valid(text)
        except ValueError:
            valid = False
        if not valid:
            raise ValueError(expected)
        return value

    return AfterValidator(check)


def _time_zone(name: str) -> str:
    """The name unchanged; raises ValueError if the time zone database lacks it."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: it is a folder of the database
        raise ValueError("must be the name of a time zone, such as America/New_York") from None
    return name


def _mail_address(text: str) -> str:
    """The normalised address, with its domain in ASCII, as headers need it; empty if it is not set."""
    address = normalise(text) if text else ""
    if address is None:
        raise ValueError("must be an address, such as registry@example.com")
    return address


def _sender_address(text: str) -> str:
    """As `_mail_address`, all in ASCII: not every mail server can send a bounce to another one."""
    address = _mail_address(text)
    if not address.isascii():
        raise ValueError("must be an address in ASCII, such as registry@example.com")
    return address


def _bounce_address(text: str) -> str:
    """The normalised address; empty if it is not set."""
    address = normalise_bounce_address(text) if text else ""
    if address is None:
        raise ValueError(
            f"must be an address with at most {MAX_BOUNCE_LOCAL} characters before the @ and no +, such as"
            " bounces@example.com"
        )
    return address


def _files_url(url: str) -> str:
    """The URL unchanged; raises ValueError if it names no folder."""
    folder_of(url)
    return url


def _without_version(url: str | None) -> str | None:
    """The URL of Prefect's UI without the version at its end, which links add."""
    return url and url.rstrip("/").removesuffix("/v2")


def _is_http(url: str) -> bool:
    parts = urlsplit(url)
    has_spaces = any(character.isspace() for character in url)
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and not has_spaces


def _is_base(url: str) -> bool:
    """Whether a path can be appended to the URL, and the result can be in a header."""
    return _is_http(url) and url.isascii() and not {"?", "#"} & set(url)


def _is_shop_origin(template: str) -> bool:
    try:
        return _is_base(template.format(shop="shop.example"))
    except (LookupError, AttributeError):  # it names something else in braces
        return False


def _are_origins(text: str) -> bool:
    return all(each == "*" or _is_origin(each) for each in map(str.strip, text.split(",")))


def _is_origin(text: str) -> bool:
    """Whether browsers send it so in `Origin` (RFC 6454, section 6.2), with which it is compared."""
    parts = urlsplit(text)
    is_bare = not parts.path and "@" not in parts.netloc and parts.port != _DEFAULT_PORTS.get(parts.scheme)
    return _is_base(text) and is_bare and text == text.lower()


def _is_dsn(url: str) -> bool:
    """Whether it is what the SDK accepts: https://KEY@host/path/PROJECT."""
    return _is_http(url) and bool(_user(urlsplit(url))) and urlsplit(url).path.rpartition("/")[2].isdecimal()


def _user(parts: SplitResult) -> str:
    return parts.username or ""


def _is_login(text: str) -> bool:
    user, separator, password = text.partition(":")
    return bool(user.strip() and separator and password.strip()) and not password.startswith("//")  # a URL


def _is_dns_server(text: str) -> bool:
    parts = urlsplit(f"//{text}")
    ip_address(parts.hostname or "")
    return parts.port != 0 and not parts.path


def _is_host(text: str) -> object:
    is_name = _HOST_NAME.fullmatch(text) and not text.rpartition(".")[2].isdecimal()  # a number is an address
    return is_name or ip_address(text)


def _is_address(parts: SplitResult) -> bool:
    """Whether the parts are a host and perhaps a port, and nothing else."""
    return bool(parts.hostname) and not (parts.username or parts.path or parts.query or parts.fragment)


def _is_dask(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in _DASK_PROTOCOLS and bool(parts.port) and _is_address(parts)


def _is_runbook_url(text: str) -> bool:
    return "://" not in text or _is_http(text)


def _are_selectors(text: str) -> bool:
    names = (each.strip().rstrip(".").lower() for each in text.split(","))
    return all(is_selector(name) for name in names if name)


def _mail_url(url: SecretStr) -> SecretStr:
    """The URL unchanged; raises UrlError if it is wrong."""
    read_mail_url(url)
    return url


def _is_lmtp(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "lmtp" and parts.port is not None and _is_address(parts)


def _are_topics(text: str) -> bool:
    return all(_TOPIC.fullmatch(each.strip()) for each in text.split(","))


def _is_public_key(text: str) -> bool:
    """Whether it is base64 of a sequence of ASN.1, as the key is."""
    return b64decode(text, validate=True).startswith(b"\x30")


def _fernet_keys(keys: SecretStr) -> SecretStr:
    """The keys unchanged; raises ValueError if one is not a Fernet key."""
    try:
        sizes = {len(urlsafe_b64decode(key.strip())) for key in keys.get_secret_value().split(",")}
    except (binascii.Error, ValueError):
        sizes = set()
    if sizes != {_FERNET_BYTES}:
        raise ValueError(
            "must be Fernet keys: python -c "
            "'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())' prints a new one"
        )
    return keys


def _is_visible_ascii(text: str) -> bool:
    """Whether it can be in a header, and has no spaces."""
    return text.isascii() and text.isprintable() and " " not in text


_HTTP: Final = _matching(_is_http, "must be a URL such as https://host.example/path")
_BASE: Final = _matching(_is_base, "must be a URL in ASCII such as https://registry.example, without ? and #")

_AS_SHOWN: Final = "must be as Shopify shows it, without a space or a line break"

PostgresqlUrl = Annotated[str, AfterValidator(read_postgresql_url)]
RedisUrl = Annotated[str, AfterValidator(read_redis_url)]
FilesUrl = Annotated[str, AfterValidator(_files_url)]
HttpUrl = Annotated[str, _HTTP]
SecretHttpUrl = Annotated[SecretStr, _HTTP]
BaseUrl = Annotated[str, _BASE]
PrefectUiUrl = Annotated[str, _BASE, AfterValidator(_without_version)]
ShopOrigin = Annotated[str, _matching(_is_shop_origin, "must be a URL such as https://{shop}, with no other braces")]
Origins = Annotated[
    str,
    _matching(
        _are_origins,
        "must be origins as browsers send them, such as https://shop.example, comma-separated: in small ASCII letters,"
        " without the default port",
    ),
]
SentryDsn = Annotated[SecretStr, _matching(_is_dsn, "must look like https://key@host.example/1, as Sentry shows it")]
Login = Annotated[SecretStr, _matching(_is_login, "must look like user:password, and not like a URL")]
ClientId = Annotated[str, _matching(_is_visible_ascii, _AS_SHOWN)]
ClientSecret = Annotated[SecretStr, _matching(_is_visible_ascii, _AS_SHOWN)]
Token = Annotated[SecretStr, _matching(_is_visible_ascii, "must be ASCII letters, digits and signs, without spaces")]
FernetKeys = Annotated[SecretStr, AfterValidator(_fernet_keys)]
MailAddress = Annotated[str, AfterValidator(_mail_address)]
SenderAddress = Annotated[str, AfterValidator(_sender_address)]
BounceAddress = Annotated[str, AfterValidator(_bounce_address)]
MailUrl = Annotated[SecretStr, AfterValidator(_mail_url)]
LmtpUrl = Annotated[str, _matching(_is_lmtp, "must look like lmtp://127.0.0.1:2424")]
TopicArns = Annotated[str, _matching(_are_topics, "must be ARNs such as arn:aws:sns:eu-central-1:123456789012:mail")]
SendGridKey = Annotated[str, _matching(_is_public_key, "must be the verification key that SendGrid shows, as base64")]
ApiVersion = Annotated[str, _matching(_API_VERSION.fullmatch, "must be a version of Shopify's API, such as 2026-10")]
DnsServer = Annotated[str, _matching(_is_dns_server, "must be an IP address such as 192.0.2.1 or 192.0.2.1:53")]
DaskAddress = Annotated[str, _matching(_is_dask, "must look like tcp://dask:8786")]
ProxyList = Annotated[
    str, _matching(parse_proxies, "must be addresses, networks such as 10.0.0.0/8 and shopify, comma-separated")
]
HostName = Annotated[str, _matching(_is_host, "must be a host name or an IP address, such as 127.0.0.1 or ::")]
Selectors = Annotated[str, _matching(_are_selectors, "must be DKIM selectors such as mail1, comma-separated")]
RunbookUrl = Annotated[
    str, _matching(_is_runbook_url, "must be a URL such as https://docs.example/runbooks, or a path of files")
]
TimeZoneName = Annotated[str, AfterValidator(_time_zone)]
