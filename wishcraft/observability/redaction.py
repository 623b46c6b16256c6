"""Takes secrets and personal data out of what is about to leave the process: texts, and nested values by their names.

Pure. Three nets, one behind the other: values that are known to be secret, names that say that a value is, and the
shapes of secrets and addresses in running text. It would rather take out too much.
"""

import ipaddress
import json
import re
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, quote_plus

REDACTED: Final = "[redacted]"
LONGEST: Final = 20_000
"""Characters of a text that are looked at; the rest is cut off."""
_DEEPEST: Final = 40
MOST_KNOWN: Final = 1_000
"""To look for more values, each in all its forms, would hold up all other requests; then no text is told."""
_SHORTEST_KNOWN: Final = 4
"""A known value with fewer characters is no secret worth the holes that it would tear."""

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
_SAID_OF_SECRETS: Final = (
    r"(?:not|no|now|wrong|accepted|missing|expired|invalid|required|unknown|revoked|used|changed|too|sent|away|shown|tried|"
    r"set|out|an?|the|of|in|for|from|to|good|known|renewed|stored|encrypted|hashed|empty|rotated)\b"
)
_VERSION: Final = r"\d{1,4}\.\d{1,4}\.\d{1,4}(?![^\s,;:\"')\]])"
"""What follows the @ of a release, and of no mail address."""
_HEADERS: Final = r"(?:proxy-)?authorization|(?:set-)?cookie"
_VALUE: Final = r""""(?:[^"\\\n]|\\.|"")*"|'(?:[^'\\\n]|\\.|'')*'|\[[^\]]*\]?|\{[^}]*\}?|[^\n]+"""
_SECRET_NAMES: Final = re.compile(
    r"passw|pwd|passphrase|secret|token|signature|hmac|accesscode|apikey|credential|grant|dsn|authstring|"
    r"authorization|cookie|sessionid|privatekey|encryptionkey|databaseurl|redisurl|smtpurl|webhookurl|"
    r"email|mail$|recipient|purchaser|registrant|firstname|lastname|fullname|customername|username|"
    r"street|postal|phone|^address|(?<!server)(?<!serversocket)address$|zip|city$|giftmessage|eventlocation|^notes$|^ip$|useragent|visitorid"
)
_WRITTEN_AS_IT_IS: Final = re.compile(r"[A-Za-z0-9_.~-]*")
_LAST_WORD: Final = re.compile(r"\S{1,500}\Z")
_NO_SECRET: Final = re.compile(r"[0-9a-f-]{16,36}")
_IDS: Final = frozenset(
    {"event_id", "trace_id", "span_id", "parent_span_id", "segment_id", "profile_id", "profiler_id", "check_in_id"}
)


def _unless_private(match: re.Match[str]) -> str:
    """An address of our own network stays: it tells which server did not answer."""
    try:
        address = ipaddress.ip_address(match[0].strip("[]"))
    except ValueError:
        return match[0]
    return match[0] if address.is_private else REDACTED


# No pattern may try its luck again and again over a long text: who sends one would keep a process busy.
_SHAPES: Final[tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...]] = (
    # What PostgreSQL quotes of rows, and SQLAlchemy of parameters.
    (re.compile(r"(DETAIL|CONTEXT):.*?(?=\n\[SQL|\Z)", re.DOTALL), rf"\1: {REDACTED}"),
    (re.compile(r"Key \([^)\n]{0,300}\)=\([^\n]*\)"), f"Key {REDACTED}"),
    (re.compile(r"\[parameters: .*", re.DOTALL), f"[parameters: {REDACTED}]"),
    (re.compile(r"(invalid input (?:syntax|value) for [^:\n]{0,80}): .*"), rf"\1: {REDACTED}"),
    # Credentials within URLs, queries, headers and assignments.
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
            rf"(?i)({_SECRETS})(\s{{1,20}}(?:is|was)[\s:=]{{1,20}})(?!{_SAID_OF_SECRETS})(?!{re.escape(REDACTED)})"
            rf"({_VALUE})"
        ),
        rf"\1\2{REDACTED}",
    ),
    # Secrets by their shapes.
    (re.compile(r"(?i)shp[a-z]{2,4}_\w+"), REDACTED),
    (re.compile(r"\bwc_([0-9a-f]{12})_\w+"), rf"wc_\1_{REDACTED}"),
    (re.compile(r"\bwc_(?![0-9a-f]{12}_\[)\w+"), f"wc_{REDACTED}"),
    (re.compile(r"\beyJ[\w-]+(?:\.[\w-]*)+"), REDACTED),
    (re.compile(r"\bgAAAA[\w=-]+"), REDACTED),
    (re.compile(r"\$argon2\w*\$[^\s\"']+"), REDACTED),
    (re.compile(r"(?i)[0-9a-f]{32,}"), REDACTED),
    (re.compile(r"(?<![\w+/])[\w+/]{43,}={1,2}"), REDACTED),
    (re.compile(r"(?<![\w-])(?=[\w-]*[A-Z])(?=[\w-]*[a-z])[\w-]{40,}={0,2}"), REDACTED),
    # People's addresses.
    (re.compile(r"\"[^\"\n@]{1,64}\"(?:@|%40)[^\s\"'<>,;)]+"), REDACTED),
    (
        re.compile(rf"(?<![^\s@<>()\[\],;:\"])[^\s@<>()\[\],;:\"]+(?:@|%40)(?!{_VERSION})\[?[^\s@<>()\[\],;:\"]*"),
        REDACTED,
    ),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b"), _unless_private),
    (re.compile(r"(?<![\w:])(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}(?![\w:])"), _unless_private),
)  # fmt: skip


def redact_text(text: str, known: Collection[str] = ()) -> str:
    """The text with everything taken out that is `known` to be secret, labelled as such, or has the shape of it."""
    if len(known) > MOST_KNOWN:
        return REDACTED
    for needle in _needles(frozenset(known)):
        text = text.replace(needle, REDACTED)
    cut = len(text) > LONGEST
    if cut:  # not through a word: half a secret has no shape
        text = _LAST_WORD.sub("", text[:LONGEST])
    for shape, instead in _SHAPES:
        text = shape.sub(instead, text)
    return f"{text} [cut]" if cut else text


def redact(value: Any, known: Collection[str] = ()) -> Any:
    """A copy of a nested value of plain Python; what lies under a name that says so goes whole, whatever it is.

    Names are redacted too. What is neither text, number, mapping nor sequence becomes the redacted text of it.
    """
    return _walk(value, known, 0)


def is_secret_name(name: str) -> bool:
    """Whether the name of a field, header, variable or parameter says that its value is not for others."""
    return _SECRET_NAMES.search(re.sub(r"[^a-z0-9]", "", name.lower())) is not None


@lru_cache(maxsize=8)
def _needles(known: frozenset[str]) -> tuple[str, ...]:
    """All forms of the known values, the longest first: the same values are looked for in each text of a report."""
    forms = {form for each in known if len(each) >= _SHORTEST_KNOWN for form in _forms(each)}
    return tuple(sorted(forms, key=len, reverse=True))


def _forms(value: str) -> set[str]:
    """The value, and what programs make of it in literals, in JSON and in URLs."""
    if _WRITTEN_AS_IT_IS.fullmatch(value):
        return {value}
    both_quotes = repr(f"{value}'\"")[1:-4]  # a literal in which both occur escapes one
    plain_bytes = repr(value.encode(errors="replace"))[2:-1]
    literals = (repr(value), json.dumps(value), json.dumps(value, ensure_ascii=False))
    urls = (quote(value, errors="replace"), quote(value, "", errors="replace"), quote_plus(value, errors="replace"))
    return {value, both_quotes, plain_bytes, *(literal[1:-1] for literal in literals), *urls}


def _walk(value: Any, known: Collection[str], depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth > _DEEPEST:
        return REDACTED
    if isinstance(value, Mapping):
        named = _says_secret(value.get("name", value.get("key")))
        return {
            _name(key, known): REDACTED if named and key == "value" else _under(key, each, known, depth)
            for key, each in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        if _is_header(value):
            return [_name(next(iter(value)), known), REDACTED]
        return [_walk(each, known, depth + 1) for each in value]
    return redact_text(_plain(value), known)


def _is_header(pair: Collection[Any]) -> bool:
    """Whether it is a secret name with its value, as ASGI has headers."""
    return len(pair) == 2 and isinstance(pair, list | tuple) and _says_secret(pair[0])  # noqa: PLR2004


def _says_secret(name: Any) -> bool:
    return isinstance(name, str | bytes) and is_secret_name(_plain(name))


def _under(key: Any, value: Any, known: Collection[str], depth: int) -> Any:
    name = _plain(key)
    if name in _IDS and isinstance(value, str) and _NO_SECRET.fullmatch(value):
        return value
    if is_secret_name(name) and value is not None and not isinstance(value, bool):
        return REDACTED
    return _walk(value, known, depth + 1)


def _name(key: Any, known: Collection[str]) -> str:
    return redact_text(_plain(key), known)


def _plain(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
