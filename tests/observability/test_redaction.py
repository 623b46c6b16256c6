"""Redaction removes secrets and personal data in any surroundings, and keeps what helps to find a fault."""

import base64
import json
import unicodedata
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wishcraft.domain.api_keys import make_key
from wishcraft.observability.redaction import MAX_CHARACTERS, MAX_KNOWN, REDACTED, redact, redact_text

HEX = "0123456789abcdef"
SIGNATURE = HEX * 4
CHARACTERS = st.one_of(st.integers(0x20, 0xD7FF), st.integers(0xE000, 0x10FFFF)).map(chr)
"""Not `st.characters`, whose tables take seconds to make in a fresh checkout."""
PLAIN = st.text(CHARACTERS.filter(lambda character: unicodedata.category(character) != "Cc"), max_size=30)
"""Text around a secret: anything but line breaks and lone surrogates."""
WORDS = st.sampled_from(["", "for ", "registry 12 ", "(", "'", '"', "x=1; ", "… "])
SECRETS = st.one_of(
    st.builds(lambda kind, rest: f"shp{kind}_{rest}", st.sampled_from(["at", "rt", "ss", "ca", "pa"]),
              st.text(HEX, min_size=20, max_size=40)),
    st.binary(min_size=38, max_size=38).map(lambda random: make_key(random).key),
    st.binary(min_size=32, max_size=32).map(bytes.hex),  # a signature
    st.binary(min_size=32, max_size=32).map(lambda digest: base64.b64encode(digest).decode()),  # a webhook's
    st.binary(min_size=32, max_size=32).map(lambda token: base64.urlsafe_b64encode(token).decode().rstrip("=")),
    st.binary(min_size=60, max_size=99).map(lambda body: "gAAAA" + base64.urlsafe_b64encode(body).decode()),
    st.builds("eyJ{}.{}.{}".format, *[st.text("abcXYZ019_-", min_size=10, max_size=30)] * 3),
    st.text("abcXYZ019+/", min_size=22, max_size=43).map(lambda tail: f"$argon2id$v=19$m=65536,t=3,p=4${tail}"),
    st.builds("{}@{}.{}".format, st.text("abzAZ059!#$%&'*+-/=?^_`{|}~.", min_size=1, max_size=20),
              st.text("abzAZ059-", min_size=1, max_size=20), st.sampled_from(["com", "example", "museum", "xn--p1ai"])),
)  # fmt: skip
CODES = st.text(CHARACTERS.filter(lambda character: unicodedata.category(character) not in {"Cc", "Zl", "Zp"}
                                  and character not in "\"'\\&#"),
                min_size=4, max_size=30).filter(lambda code: code.strip() == code)  # fmt: skip
"""Access codes that a person chooses: they have no format."""
NAMES = st.sampled_from(
    ["access_code", "X-API-Key", "Authorization", "cookie", "set-cookie", "password", "client_secret", "signature",
     "X-Shopify-Access-Token", "X-Shopify-Hmac-Sha256", "customer_email", "recipient", "first_name", "event_location",
     "gift_message", "ENCRYPTION_KEYS", "SENTRY_DSN", "refreshToken", "registry_grant"]
)  # fmt: skip
MORE_NAMES = st.one_of(NAMES, st.sampled_from(["address", "User-Agent", "notes", "ip", "city", "zip"]))
"""Names that mark personal data in a structure, and in running text may mark a server."""
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), PLAIN, PLAIN.map(str.encode)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(PLAIN, inner, max_size=3)),
    max_leaves=6,
)


def shown(value: Any) -> str:
    return json.dumps(redact(value), ensure_ascii=False)


@given(SECRETS, WORDS, WORDS)
def test_a_secret_with_a_known_format_is_redacted_in_any_text(secret: str, before: str, after: str) -> None:
    assert secret not in redact_text(f"{before}{secret} {after}")
    assert secret not in shown({"a": [{"b": (f"{before}{secret}",)}]})
    assert secret not in shown({f"{before}{secret}": 1})
    assert secret not in shown([f"{before}{secret} {after}".encode()])


@given(CODES, NAMES)
def test_a_secret_without_a_format_is_redacted_after_its_label(code: str, name: str) -> None:
    said = (f"{name}={code}", f"{name}: {code}", f'"{name}": "{code}"', f"{name}='{code}'", f"(b'{name}', b'{code}')")
    for text in said:
        assert redact_text(f"it failed with {text}").startswith("it failed with ")
        assert code not in redact_text(f"it failed with {text}").replace(name, "").replace("it failed with", "")


@given(CODES, MORE_NAMES, JSON)
def test_a_value_under_a_secret_name_is_redacted_whole(code: str, name: str, company: Any) -> None:
    for value in (code, [code], {"deeper": [company, code]}, (code, company), code.encode()):
        text = json.dumps(redact({"list": [{name: value, "other": company}]}), ensure_ascii=False)
        assert text.count(REDACTED) >= 1
        assert redact({name: value}) == {name: REDACTED}
    assert redact([(name.encode(), code.encode())]) == [[name, REDACTED]]


@given(CODES, JSON, st.lists(st.integers(0, 3), max_size=6))
def test_a_known_secret_is_redacted_at_any_depth(code: str, company: Any, path: list[int]) -> None:
    assume(code not in json.dumps(redact(company), ensure_ascii=False))
    value: Any = f"before {code} after"
    for step in path:
        value = [{"x": value, "y": company}, [company, value], (value,), {f"{step}": value}][step]
    assert code not in json.dumps(redact(value, {code}), ensure_ascii=False).replace(REDACTED, "")


@pytest.mark.parametrize(
    "text",
    [
        "3 shops: 200 registries, 12 warmed. Failed: a.myshopify.com (ShopifyThrottled: …).",
        'File "wishcraft/services/reminding.py", line 20, in remind_shop',
        "the refresh token is not accepted; the merchant must open the app",
        "KeyError: 'price'",
        'connection to server at "127.0.0.1", port 5432 failed: Connection refused',
        "run 2f1e3b8c-1111-4222-8333-444455556666 at 12:30:45 took 1.5 s",
        "GET /api/registries/{ref} took longer than 10 s",
        "a_reminder_that_was_killed_between_acceptance_and_commit_is_sent_once_more",
        "Redis did not answer a moment ago",
        "wishcraft@0.1.0 does not answer",
        "sentry-release=wishcraft%400.1.0,sentry-sampled=true",
    ],
)
def test_harmless_texts_are_kept(text: str) -> None:
    assert redact_text(text) == text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("from 81.2.69.142 to 10.0.0.7 and ::1", "from [redacted] to 10.0.0.7 and ::1"),
        ("postgresql://app:hunter2@db:5432/x", "postgresql://[redacted]@db:5432/x"),
        ("/api/registries/a?shop=b&signature=c&limit=3", "/api/registries/a?shop=b&signature=[redacted]&limit=3"),
        ("wc_0123456789ab_" + "f" * 64, "wc_0123456789ab_[redacted]"),
        (
            "duplicate key value\nDETAIL:  Key (recipient)=(Emma) already exists.\n[SQL: INSERT INTO reminders]",
            "duplicate key value\nDETAIL: [redacted]\n[SQL: INSERT INTO reminders]",
        ),
        ("access code was sunflower", "access code was [redacted]"),
        (
            "Parameter validation failed for flow 'ask': [{'input': 'Emma'}]\nParameters: {'question': 'Emma'}",
            "Parameter validation failed for flow 'ask': [redacted]",
        ),
    ],
)  # fmt: skip
def test_text_around_a_secret_is_kept(text: str, clean: str) -> None:
    assert redact_text(text) == clean


def test_a_structure_too_deep_or_a_text_too_long_is_cut() -> None:
    deep: Any = "shallow"
    for _ in range(100):
        deep = [deep]
    assert "shallow" not in shown(deep)
    assert len(redact_text("word " * 100_000)) < 21_000


@pytest.mark.parametrize(
    "piece", ["a-", "token", "?a.%", "Key ()=(", "://a:", "cookie ", "token='", "a@", "ip:", "eyJ.", "eyJ-"]
)
def test_redaction_of_a_repetitive_text_takes_linear_time(piece: str) -> None:
    assert redact_text(piece * 20_000)


def test_what_begins_like_a_token_is_redacted_without_a_search_for_its_dots() -> None:
    assert redact_text("eyJ-" * 20_000) == f"{REDACTED} [cut]"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("emma@12.34.56.example", "emma@"),
        ("mailto:emma@a.example?cc=hugo@b.example", "hugo@"),
        ("to=emma@a.example&cc=hugo@b.example", "hugo@"),
        (r"b'MAIL FROM:emma@a.example\nhugo@b.example'", "hugo@"),
        ("emma@a.example/hugo%40b.example", "hugo%40"),
        (rf"b'\n{SIGNATURE}'", SIGNATURE),
        (rf"'\\x{SIGNATURE}'", SIGNATURE),
        (r"UniqueViolation('null value\nDETAIL:  Failing row contains (1, Emma Reed).')", "Emma"),
        ('invalid input syntax for type integer: "Emma Reed"', "Emma"),
        ("access_code\n  too long [type=string_too_long, input_value='sunflower77', input_type=str]", "sunflower77"),
        ('"access_codes": [\n    "sunflower77"\n  ]', "sunflower77"),
        ("access_code='sun''flower77'", "flower77"),
        ("The password is: hunter22", "hunter22"),
        (f"{'x ' * (MAX_CHARACTERS // 2 - 2)}emma@a.example", "emm"),
    ],
)
def test_a_secret_in_a_literal_json_or_url_is_redacted(text: str, secret: str) -> None:
    assert secret not in redact_text(text)


def test_a_secret_pair_is_redacted_and_a_server_address_kept() -> None:
    assert redact([{"name": "access_code", "value": "sunflower77"}, {"key": "page", "value": "two"}]) == [
        {"name": "access_code", "value": REDACTED},
        {"key": "page", "value": "two"},
    ]
    assert redact(["access_code", "sunflower77"]) == ["access_code", REDACTED]
    assert redact({"server.address": "db", "server.socket.address": "10.0.0.7", "client.address": "10.0.0.8"}) == {
        "server.address": "db",
        "server.socket.address": "10.0.0.7",
        "client.address": REDACTED,
    }


def test_a_known_secret_across_the_cut_is_redacted() -> None:
    code = "sunflower in the garden"
    assert "sunflower" not in redact_text("x" * (MAX_CHARACTERS - len(code) + 1) + code, {code})


def test_a_list_of_two_spans_is_not_taken_for_a_header() -> None:
    spans = [{"op": "db", "description": "SELECT grants"}, {"op": "db", "description": "SELECT 1"}]
    assert redact({"spans": spans}) == {"spans": spans}


def test_a_text_is_redacted_whole_if_there_are_too_many_known_secrets() -> None:
    many = {f"somebody-{number}" for number in range(MAX_KNOWN + 1)}
    assert redact_text("somebody-7 was here", many) == REDACTED
    assert redact_text("somebody-7 was here", set(sorted(many)[:10]) | {"somebody-7"}) == f"{REDACTED} was here"
