"""Requests and answers in the docs, as blocks of `http`."""

import json
import re
from email.parser import HeaderParser
from typing import Any, NamedTuple


class Message(NamedTuple):
    """A request or an answer."""

    first_line: str
    headers: dict[str, str]
    body: Any
    """None without one."""


def read_messages(text: str) -> list[Message]:
    """The messages of a page or a part of one, in their order."""
    return [_parse(block) for block in re.findall(r"```http\n(.*?)```", text, re.DOTALL)]


def _parse(block: str) -> Message:
    head, _, body = block.partition("\n\n")
    first_line, _, headers = head.strip().partition("\n")
    return Message(first_line, dict(HeaderParser().parsestr(headers).items()), json.loads(body) if body else None)
