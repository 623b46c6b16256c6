"""The text of an analyst's query: one SELECT, without what surrounds it. Pure."""

import re
from collections.abc import Iterator
from itertools import groupby, takewhile
from typing import Final

from wishcraft.domain.storable_text import NOT_STORABLE, is_storable
from wishcraft.errors import QueryRefused

SELECTS: Final = ("SELECT", "WITH", "VALUES", "TABLE")
# https://www.postgresql.org/docs/current/sql-syntax-lexical.html; a quote without its end extends to the end.
_TOKEN: Final = re.compile(
    r"""(?P<comment>--[^\r\n]*|/\*)
    |(?P<space>[\s\ufeff\u200b\u2060]+)
    |[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z)
    |'[^']*(?:'|\Z)
    |"[^"]*(?:"|\Z)
    |\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z)
    |[^\W\d][\w$]*
    |.""",
    re.DOTALL | re.VERBOSE,
)
_COMMENT_EDGE: Final = re.compile(r"/\*|\*/")
_INDENT: Final = "    "


def parse_select(sql: str) -> str:
    """The SELECT in the text: what precedes a final semicolon, with plain spaces instead of other white space.

    Characters keep their places, so that PostgreSQL's messages name the right line.

    Raises:
        QueryRefused: It is empty, something else than a SELECT, or more than one statement.
    """
    if not isinstance(sql, str):
        raise QueryRefused("the query must be a text: write one SELECT")
    if not is_storable(sql):
        raise QueryRefused(f"the query {NOT_STORABLE}")
    tokens = list(_tokens(sql))
    words = [token for token, is_significant in tokens if is_significant]
    statement = list(takewhile(lambda word: word != ";", words))
    if not statement:
        raise QueryRefused("the query is empty: write one SELECT")
    if any(word != ";" for word in words[len(statement) :]):
        raise QueryRefused("syntax error: another statement follows the semicolon; write one SELECT")
    if next((word for word in statement if word != "("), "").upper() not in SELECTS:
        raise QueryRefused(f"write one SELECT; it begins with {', '.join(SELECTS[:-1])} or {SELECTS[-1]}")
    while not tokens[-1][1] or tokens[-1][0] == ";":
        tokens.pop()
    return "".join(token for token, _ in tokens)


def wrap_sql(sql: str, width: int) -> str:
    """The SQL with line breaks in place of spaces where its lines are longer; texts and comments stay whole."""
    wrapped, column, space = "", 0, ""
    for is_space, tokens in groupby((token for token, _ in _tokens(sql)), str.isspace):
        text = "".join(tokens)
        if is_space and "\n" not in text:
            space = text
            continue
        if space and column + len(space) + len(text.partition("\n")[0]) > width:
            wrapped, column, space = f"{wrapped}\n{_INDENT}", len(_INDENT), ""
        wrapped += space + text
        column = len(text) - text.rfind("\n") - 1 + (0 if "\n" in text else column + len(space))
        space = ""
    return wrapped


def _tokens(sql: str) -> Iterator[tuple[str, bool]]:
    """The tokens in order, and whether they are more than white space or a comment."""
    place = 0
    while match := _TOKEN.match(sql, place):
        end = _comment_end(sql, match.end()) if match[0] == "/*" else match.end()
        if match["space"]:
            yield re.sub(r"[^ \t\r\n\f\v]", " ", match[0]), False
        else:
            yield sql[place:end], not match["comment"]
        place = end


def _comment_end(sql: str, place: int) -> int:
    """The end of the comment that begins before `place`; comments nest, as in PostgreSQL."""
    depth = 1
    for edge in _COMMENT_EDGE.finditer(sql, place):
        depth += 1 if edge[0] == "/*" else -1
        if not depth:
            return edge.end()
    return len(sql)
