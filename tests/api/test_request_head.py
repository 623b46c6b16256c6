"""Heads of requests, as the fast path parses and remembers them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.request_head import HeadParser, _parse_sender

BLOCK = b"Host: api\r\nX-API-Key: wc_x\r\n\r\n"


@pytest.mark.parametrize(
    ("line", "ref", "query"),
    [
        (b"GET /api/registries/ada-1 HTTP/1.1", "ada-1", b""),
        (b"GET /api/registries/ada-1?a=b&c= HTTP/1.1", "ada-1", b"a=b&c="),
        (b"GET /api/registries/7?a=?b HTTP/1.1", "7", b"a=?b"),
    ],
)
def test_plain_request_line_is_read(line: bytes, ref: str, query: bytes) -> None:
    parsed = HeadParser().parse_line(line + b"\r\n" + BLOCK)
    assert parsed is not None
    assert (parsed[0], parsed[1].text, parsed[2]) == (ref, query, BLOCK)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"GET /api/registries/a",
        b"GET /api/registries/a HTTP/1.0",
        b"GET /api/registries/a HTTP/1.1 ",
        b"GET /api/registries/a HTTP/1.1\n",
        b"GET /api/registries/a HTTP/1.0\r\nX: y HTTP/1.1",
        b"GET /api/registries/a HTTP/1.1?a=b HTTP/1.1",
        b"GET /api/registries/a?a=b HTTP/1.1?a=b HTTP/1.1",
        b"GET /api/registries/a?a=b",
        b"GET /api/registries/a?a",
        b"GET /api/registries/a?a=b\nX: y HTTP/1.1",
        b"GET /api/registries/a\n HTTP/1.1",
        b"GET /api/registries/a/items?a=b HTTP/1.1",
        b"GET /api/registries/A?a=b HTTP/1.1",
        b"GET /api/registries/a?grant=b HTTP/1.1",
        b"GET /api/registries/a?%61=b HTTP/1.1",
        b"HEAD /api/registries/a HTTP/1.1",
        b"GET  /api/registries/a HTTP/1.1",
    ],
)
def test_unusual_request_line_is_not_read_however_well_its_parts_are_known(line: bytes) -> None:
    parser = HeadParser()
    for known in (b"", b"?a=b"):
        assert parser.parse_line(b"GET /api/registries/a%b HTTP/1.1\r\n" % known)
    for _ in range(2):
        assert parser.parse_line(line + b"\r\n" + BLOCK) is None


def test_query_is_parsed_once_and_is_the_same_with_any_path() -> None:
    parser = HeadParser()
    first = parser.parse_line(b"GET /api/registries/a?a=b HTTP/1.1\r\n")
    second = parser.parse_line(b"GET /api/registries/b?a=b HTTP/1.1\r\n")
    assert first is not None
    assert second is not None
    assert (first[0], second[0]) == ("a", "b")
    assert first[1] is second[1]


def test_sender_is_remembered_for_its_address_only() -> None:
    parser = HeadParser()
    first = parser.parse_block(BLOCK, ("192.0.2.1", 1))
    assert first is not None
    same, other = (parser.parse_block(BLOCK, client) for client in (("192.0.2.1", 2), ("192.0.2.2", 1)))
    assert same is not None
    assert other is not None
    assert same.sender is first.sender
    assert other.sender is not first.sender


def test_condition_is_read_apart_from_what_is_remembered_of_the_sender() -> None:
    parser = HeadParser()
    for name in (b"If-None-Match", b"if-none-match"):
        for number in range(100):
            block = b'Host: api\r\n%b: "%d-0"\r\nAccept: */*\r\n\r\n' % (name, number)
            parsed = parser.parse_block(block, None)
            assert parsed is not None
            assert parsed.if_none_match == f'"{number}-0"'
    assert parser._known_sender.cache_info().currsize == 1
    plain = parser.parse_block(b"Host: api\r\nAccept: */*\r\n\r\n", None)
    assert plain is not None
    assert plain.if_none_match is None


@pytest.mark.parametrize(
    "block",
    [
        b'Host: api\r\nIf-None-Match: "1"\r\nIf-None-Match: "2"\r\n\r\n',
        b'Host: api\r\nIf-None-Match: "1"\r\nIF-NONE-MATCH: "2"\r\n\r\n',
        b'If-None-Match: "1"\r\n\r\n',
        b'Host: api\nIf-None-Match: "1"\r\n\r\n',
        b'Host: api\r\nIf-None-Match: "1"\nAccept: */*\r\n\r\n',
        b'Host: api\r\nIf-None-Match: "1"\r\n',
        b"Host: api\r\nIf-None-Match: \r\n\r\n",
        b'Host: api\r\nIf-None-Match: "1" \r\n\r\n',
        b'Host: api\r\nIf-None-Match:  "1"\r\n\r\n',
        b'Host: api\r\nX-If-None-Match: "1"\r\n\r\n',
        b'Host: api\r\nX-If-None-Match: "1"\r\nForwarded-For: 192.0.2.1\r\n\r\n',
        b'Host: api\r\n\r\nIf-None-Match: "1"\r\n\r\n',
        b'Host: api\r\n\r\nIf-None-Match: "1"\r\n',
    ],
)
def test_unusual_condition_is_not_read(block: bytes) -> None:
    assert HeadParser().parse_block(block, None) is None


PARTS = (
    *(b"Host: api\r\n", b"Accept: */*\r\n", b'If-None-Match: "1"\r\n', b'if-none-match: "2", *\r\n', b"\r\n"),
    *(
        b"X-If-None-Match: 3\r\n",
        b"If-None-Match: \r\n",
        b'If-None-Match: "4"\n',
        b"GET / HTTP/1.1\r\n",
        b"\n",
        b" ",
        b"\t",
    ),
)


@given(st.lists(st.sampled_from(PARTS), max_size=6).map(b"".join), st.sampled_from([b"\r\n", b""]))
def test_condition_makes_no_block_readable_that_would_not_be_without_it(lines: bytes, end: bytes) -> None:
    for block in (lines + end, b"Host: api\r\n" + lines + end):
        unconditional = block.replace(b"If-None-Match", b"Dnt").replace(b"if-none-match", b"dnt")
        parsed = HeadParser().parse_block(block, None)
        assert (parsed and parsed.sender) == _parse_sender(unconditional, "")
        assert parsed is None or parsed.if_none_match in {None, '"1"', '"2", *'}


@given(st.lists(st.sampled_from(PARTS), max_size=6).map(b"".join), st.sampled_from(PARTS), st.data())
def test_block_like_the_last_one_is_read_as_by_itself(lines: bytes, other: bytes, data: st.DataObject) -> None:
    parser, place = HeadParser(), data.draw(st.integers(0, len(lines)))
    last = parser.parse_block(b'Host: api\r\nIf-None-Match: "0"\r\n' + lines + b"\r\n", None)
    changed = lines[:place] + other + lines[place:]
    for block in (
        b'Host: api\r\nIf-None-Match: "12"\r\n' + changed + b"\r\n",
        b'Host: api\r\nIf-None-Match: "3\r\n' + changed + b"\r\n",
        b'Host: api\r\nIf-None-Match: "3"' + changed + b"\r\n",
        b"Host: api\r\n" + changed + b"\r\n",
    ):
        parsed, alone = parser.parse_block(block, None, last), parser.parse_block(block, None)
        has_name = parsed is not None and "If-None-Match: " in (parsed.if_none_match or "")  # by itself, not read
        assert parsed == alone or (alone is None and has_name)


def test_what_is_remembered_is_bounded_in_number_and_size() -> None:
    parser = HeadParser()
    for number in range(5_000):
        assert parser.parse_line(b"GET /api/registries/a%d?a=%d HTTP/1.1\r\n" % (number, number))
        assert parser.parse_block(b"Host: api%d\r\n\r\n" % number, None)
    assert parser._known_query.cache_info().currsize == parser._known_sender.cache_info().currsize == 2_048
    large = b"x" * 2_000
    parsed = [parser.parse_line(b"GET /api/registries/a?a=%b HTTP/1.1\r\n" % large) for _ in range(2)]
    senders = [parser.parse_block(b"Host: api\r\nCookie: %b\r\n\r\n" % large, None) for _ in range(2)]
    assert parsed[0] is not None
    assert parsed[1] is not None
    assert parsed[0][1] is not parsed[1][1]
    assert senders[0] is not senders[1]
