"""Entity tags of registries (RFC 9110, section 8.8.3): `"<version>-<digest of the body>"`. Pure.

The digest makes them strong: equal tags, equal bytes. `If-Match` compares only the version, since a change of the
shop's settings alters the body but not the registry that the registrant changes.
"""

import re
from typing import Final

_TAG: Final = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS: Final = re.compile(rf"[ \t,]*{_TAG}(?:[ \t]*,[ \t,]*{_TAG})*[ \t,]*")
_OURS: Final = re.compile(r'(?:^|[ \t,])"([0-9]{1,19})-[0-9a-f]{16}"', re.ASCII)


def make_etag(version: int, digest: str) -> str:
    """The quoted tag; `digest` is 16 hexadecimal digits."""
    return f'"{version}-{digest}"'


def allows_change(if_match: str, version: int) -> bool:
    """Whether `If-Match` names the registry's current version, or is `*`. A weak tag never does (RFC 9110, 13.1.1)."""
    if if_match.strip(" \t") == "*":
        return True
    return _TAGS.fullmatch(if_match) is not None and str(version) in _OURS.findall(if_match)


def matches(if_none_match: str, etag: str) -> bool:
    """Whether `If-None-Match` has the tag, weak or not (RFC 9110, 13.1.2), or is `*`."""
    return etag in if_none_match or if_none_match.strip(" \t") == "*"
