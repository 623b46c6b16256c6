"""Entity tags of registries (RFC 9110, section 8.8.3): `"<version>-<digest of the body>"`. Pure.

The digest makes them strong: equal tags, equal bytes. `If-Match` compares only the version, since a change of the
shop's settings alters the body but not the registry that the registrant changes.
"""

import re
from typing import Final

_TAG: Final = re.compile(r'(?:W/)?"([0-9]{1,19})-[0-9a-f]{16}"', re.ASCII)


def make_etag(version: int, digest: str) -> str:
    """The quoted tag; `digest` is 16 hexadecimal digits."""
    return f'"{version}-{digest}"'


def allows_change(if_match: str, version: int) -> bool:
    """Whether `If-Match` names the registry's current version, or is `*`."""
    return if_match.strip() == "*" or str(version) in _TAG.findall(if_match)
