"""Shared code for the URLs of settings: faults, parts and options."""

import re
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlsplit

from wishcraft.errors import ConfigurationError

LAST_PORT: Final = 65_535
BAD_PORT: Final = f"its port is not a number from 1 to {LAST_PORT:,}"
BAD_HOST: Final = "its host has a space or another character that no host can have"
NOT_ENCODED: Final = "a character of its user, password or options is not percent-encoded"
_HOST: Final = re.compile(r"[\w.-]*|[\da-f]*:[\da-f:.]*(?:%[\w.-]+)?", re.IGNORECASE)
_REMOVED_BY_URLSPLIT: Final = re.compile(r"[\t\r\n]")
_NAME: Final = re.compile("[A-Za-z_]{1,40}")
_PASSWORDS: Final = frozenset({"password", "ssl_password", "sslpassword"})


class UrlError(ConfigurationError, ValueError):
    """A URL that cannot be used: what it must look like, and what is wrong. Shows no value, which may be a secret."""

    def __init__(self, example: str, fault: str) -> None:
        super().__init__(f"must look like {example}, but {fault}")


class Option(NamedTuple):
    """Format of an option's values: in words, and as a regular expression."""

    expected: str
    pattern: str


def one_of(*values: str) -> Option:
    """An option with these values."""
    return Option(f"one of {', '.join(values)}", "|".join(map(re.escape, values)))


NUMBER: Final = Option("a whole number", "[0-9]{1,9}")
POSITIVE: Final = Option("a whole number from 1", "[1-9][0-9]{0,8}")
SECONDS: Final = Option("a number of seconds", r"(?=.*[1-9])[0-9]{1,9}(?:\.[0-9]{1,9})?")
FLAG: Final = Option("true or false", "(?i:true|false|yes|no|[tfyn10])")
TEXT: Final = Option("a text", ".+")


def split_url(url: str, example: str) -> SplitResult:
    """The parts of the URL, of which a port is from 1.

    Raises:
        UrlError: It has no scheme, or has a fragment; its host or its port is not valid; or a character has to be
            percent-encoded.
    """
    try:
        parts = urlsplit(_REMOVED_BY_URLSPLIT.sub(" ", url))
    except ValueError:  # brackets
        raise UrlError(example, NOT_ENCODED) from None
    if not parts.scheme or "://" not in url:
        raise UrlError(example, "it has no scheme")
    # `/`, `?` and `#` end the host, wherever they are.
    if "@" in f"{parts.path}{parts.query}" or parts.fragment:
        raise UrlError(example, NOT_ENCODED)
    if not is_host(parts.hostname or ""):
        raise UrlError(example, BAD_HOST)
    try:
        has_port = parts.port != 0
    except ValueError:
        has_port = False
    if not has_port:
        raise UrlError(example, BAD_PORT)
    if not is_printable(url):
        raise UrlError(example, NOT_ENCODED)
    return parts


def is_host(text: str) -> bool:
    """Whether a text is empty, or may be a host: a name or an address, without brackets."""
    return _HOST.fullmatch(text) is not None


def is_printable(text: str) -> bool:
    """Whether a text has neither spaces nor control characters."""
    return text.isprintable() and " " not in text


def read_options(
    query: str, permitted: Mapping[str, Option], example: str, *, repeatable: Collection[str] = ()
) -> dict[str, str]:
    """The options in the query of a URL; of one that may be repeated, the last.

    Raises:
        UrlError: An option is unknown, repeated or has another value than is permitted.
    """
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        option = permitted.get(name)
        if option is None:
            # Without a value, or after a password, it may be a part of one.
            may_say = value and _NAME.fullmatch(name) and not _PASSWORDS & options.keys()
            raise UrlError(example, f"the option {name} is unknown" if may_say else "an option is unknown")
        if name in options and name not in repeatable:
            raise UrlError(example, f"the option {name} is repeated")
        if not re.fullmatch(option.pattern, value):
            raise UrlError(example, f"the option {name} is not {option.expected}")
        options[name] = value
    return options
