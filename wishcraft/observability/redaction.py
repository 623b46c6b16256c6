"""Redaction of secrets and personal data in texts and nested values before they leave the process. Pure.

Three layers: known secret values, names that mark a value as secret, and patterns of secrets and addresses in text.
When in doubt it redacts too much.
"""

import ipaddress
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from wishcraft.observability.known_values import replace_known

REDACTED: Final = "[redacted]"
MAX_CHARACTERS: Final = 20_000
"""A text is cut after this many characters."""
_MAX_DEPTH: Final = 40
MAX_KNOWN: Final = 1_000
"""Searching for more values, or for this many in a longer text, would block the event loop: it is redacted whole."""

_GAP: Final = "(?:[_ -]|%5f|%20)?"
_SECRETS: Final = (
    rf"(?:pass(?:word|wd|phrase)|pwd|secret|token|signature|hmac|access{_GAP}code|api{_GAP}key|credential|"
    rf"grant|dsn|auth{_GAP}string|session{_GAP}id|private{_GAP}key|encryption{_GAP}key)s?"
)
_PERSONAL: Final = (
    rf"(?:e-?mail|input{_GAP}value|recipient|purchaser|street|postal|phone|gift{_GAP}message|event{_GAP}location|"
    rf"(?:first|last|full){_GAP}name)s?"
)
_LABELS: Final = f"(?:{_SECRETS}|{_PERSONAL})"
_STATUS_WORDS: Final = (
    r"(?:not|no|now|wrong|accepted|missing|expired|invalid|required|unknown|revoked|used|changed|too|sent|away|shown|"
    r"tried|set|out|an?|the|of|in|for|from|to|good|known|renewed|stored|encrypted|hashed|empty|rotated)\b"
)
_VERSION: Final = r"\d{1,4}\.\d{1,4}\.\d{1,4}(?![^\s,;:\"')\]])"
"""A version after an `@`, as in `wishcraft@1.2.3`: no e-mail address."""
_HEADERS: Final = r"(?:proxy-)?authorization|(?:set-)?cookie"
_VALUE: Final = r""""(?:[^"\\\n]|\\.|"")*"|'(?:[^'\\\n]|\\.|'')*'|\[[^\]]*\]?|\{[^}]*\}?|[^\n]+"""
_SECRET_NAMES: Final = re.compile(
    r"passw|pwd|passphrase|secret|token|signature|hmac|accesscode|apikey|credential|grant|dsn|authstring|"
    r"authorization|cookie|sessionid|privatekey|encryptionkey|databaseurl|redisurl|mailurl|webhookurl|"
    r"email|mail$|recipient|purchaser|registrant|firstname|lastname|fullname|customername|username|"
    r"street|postal|phone|^address|(?<!server)(?<!serversocket)address$|zip|city$|giftmessage|eventlocation|^notes$|^ip$|useragent|visitorid"
)
_LAST_WORD: Final = re.compile(r"\S+\Z")
_MAX_WORD: Final = 500
_ID_VALUE: Final = re.compile(r"[0-9a-f-]{16,36}")
_ID_FIELDS: Final = frozenset(
    {"event_id", "trace_id", "span_id", "parent_span_id", "segment_id", "profile_id", "profiler_id", "check_in_id"}
)


def _unless_private(match: re.Match[str]) -> str:
    """Keep private addresses: they name the server that did not answer."""
    try:
        address = ipaddress.ip_address(match[0].strip("[]"))
    except ValueError:
        return match[0]
    return match[0] if address.is_private else REDACTED


# Each pattern runs in linear time: quadratic backtracking over a long text would let a sender block the process.
_PATTERNS: Final[tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...]] = (
    # Row values in messages of PostgreSQL, and parameters in those of SQLAlchemy.
    (re.compile(r"(DETAIL|CONTEXT):.*?(?=\n\[SQL|\Z)", re.DOTALL), rf"\1: {REDACTED}"),
    (re.compile(r"Key \([^)\n]{0,300}\)=\([^\n]*\)"), f"Key {REDACTED}"),
    (re.compile(r"\[parameters: .*", re.DOTALL), f"[parameters: {REDACTED}]"),
    (re.compile(r"(invalid input (?:syntax|value) for [^:\n]{0,80}): .*"), rf"\1: {REDACTED}"),
    # Values of parameters, in what Prefect logs of a run that has wrong ones; it then names their fields again.
    (re.compile(r"(Parameter validation failed for flow [^:\n]{0,100}): .*", re.DOTALL), rf"\1: {REDACTED}"),
    # Credentials in URLs, query strings, headers and assignments.
    (re.compile(r"://[^\s/?#]*@"), f"://{REDACTED}@"),
    (re.compile(rf"(?i)([?&][\w.%-]{{0,40}}{_LABELS}[\w%-]{{0,40}}=)[^&\s\"'<>]*"), rf"\1{REDACTED}"),
    (re.compile(rf"(?i)\b({_HEADERS})\b([\\\"']{{0,4}}\s{{0,20}}[:=,]\s*)[^\n]*"), rf"\1\2{REDACTED}"),
    (re.compile(r"(?i)\b(bearer|basic|digest|negotiate)\s{1,20}[\w+/=.~-]{6,}"), rf"\1 {REDACTED}"),
    (
        re.compile(
            rf"(?i)({_LABELS}[\w-]{{0,40}})([\\\"']{{0,4}}\s{{0,20}}(?:[:=]|,(?=\s{{0,20}}b?[\"']))\s{{0,20}}b?)"
            rf"(?!{re.escape(REDACTED)})({_VALUE})"
        ),
        rf"\1\2{REDACTED}",
    ),
    (
        re.compile(
            rf"(?i)({_SECRETS})(\s{{1,20}}(?:is|was)[\s:=]{{1,20}})(?!{_STATUS_WORDS})(?!{re.escape(REDACTED)})"
            rf"({_VALUE})"
        ),
        rf"\1\2{REDACTED}",
    ),
    # Secrets by their format.
    (re.compile(r"(?i)shp[a-z]{2,4}_\w+"), REDACTED),
    (re.compile(r"\bwc_([0-9a-f]{12})_\w+"), rf"wc_\1_{REDACTED}"),
    (re.compile(r"\bwc_(?![0-9a-f]{12}_\[)\w+"), f"wc_{REDACTED}"),
    (re.compile(r"\beyJ[\w.-]+"), REDACTED),
    (re.compile(r"\bgAAAA[\w=-]+"), REDACTED),
    (re.compile(r"\$argon2\w*\$[^\s\"']+"), REDACTED),
    (re.compile(r"(?i)[0-9a-f]{32,}"), REDACTED),
    (re.compile(r"(?<![\w+/])[\w+/]{43,}={1,2}"), REDACTED),
    (re.compile(r"(?<![\w-])(?=[\w-]*[A-Z])(?=[\w-]*[a-z])[\w-]{40,}={0,2}"), REDACTED),
    # E-mail and IP addresses.
    (re.compile(r"\"[^\"\n@]{1,64}\"(?:@|%40)[^\s\"'<>,;)]+"), REDACTED),
    (
        re.compile(rf"(?<![^\s@<>()\[\],;:\"])[^\s@<>()\[\],;:\"]+(?:@|%40)(?!{_VERSION})\[?[^\s@<>()\[\],;:\"]*"),
        REDACTED,
    ),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b"), _unless_private),
    (re.compile(r"(?<![\w:])(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}(?![\w:])"), _unless_private),
)  # fmt: skip


def redact_text(text: str, known: Collection[str] = ()) -> str:
    """Return the text with `known` values, labelled values and all that looks like a secret replaced.

    The result has at most `MAX_CHARACTERS` characters of the text, and ends with `[cut]` if it was longer.
    """
    if len(known) > MAX_KNOWN or len(known) * len(text) > MAX_KNOWN * MAX_CHARACTERS:
        return REDACTED
    text = replace_known(text, known, REDACTED)
    cut = len(text) > MAX_CHARACTERS
    if cut:  # drop the last word: half a secret would match no pattern
        begin = MAX_CHARACTERS - _MAX_WORD
        text = text[:begin] + _LAST_WORD.sub("", text[begin:MAX_CHARACTERS])
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return f"{text} [cut]" if cut else text


def redact(value: Any, known: Collection[str] = ()) -> Any:
    """Return a redacted copy of nested mappings, sequences and scalars.

    A value under a secret name is replaced whole. Names are redacted as text. Objects of other types become their
    redacted `str`.
    """
    return _redact_value(value, known, 0)


def is_secret_name(name: str) -> bool:
    """Return whether a field, header, variable or parameter of this name holds a secret or personal data."""
    return _SECRET_NAMES.search(re.sub(r"[^a-z0-9]", "", name.lower())) is not None


def _redact_value(value: Any, known: Collection[str], depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth > _MAX_DEPTH:
        return REDACTED
    if isinstance(value, Mapping):
        secret_pair = _is_secret(value.get("name", value.get("key")))  # {"name": "cookie", "value": …}
        return {
            clean_name: REDACTED if secret_pair and name == "value" else _redact_field(name, item, known, depth)
            for clean_name, (name, item) in zip(_redact_names(list(value), known), value.items(), strict=True)
        }
    if isinstance(value, list | tuple | set | frozenset):
        if _is_secret_header(value):
            return [*_redact_names(list(value)[:1], known), REDACTED]
        return [_redact_value(each, known, depth + 1) for each in value]
    return redact_text(_as_text(value), known)


def _is_secret_header(pair: Collection[Any]) -> bool:
    """Return whether this is a (name, value) pair, as in ASGI headers, with a secret name."""
    return len(pair) == 2 and isinstance(pair, list | tuple) and _is_secret(pair[0])  # noqa: PLR2004


def _is_secret(name: Any) -> bool:
    return isinstance(name, str | bytes) and is_secret_name(_as_text(name))


def _redact_field(key: Any, value: Any, known: Collection[str], depth: int) -> Any:
    name = _as_text(key)
    if name in _ID_FIELDS and isinstance(value, str) and _ID_VALUE.fullmatch(value):
        return value
    if is_secret_name(name) and value is not None and not isinstance(value, bool):
        return REDACTED
    return _redact_value(value, known, depth + 1)


def _redact_names(keys: Sequence[Any], known: Collection[str]) -> list[str]:
    """Redact the names of a mapping: all together, as they hardly ever hold a secret, and singly if they do."""
    names = list(map(_as_text, keys))
    together = "\n".join(names)
    return names if redact_text(together, known) == together else [redact_text(name, known) for name in names]


def _as_text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
