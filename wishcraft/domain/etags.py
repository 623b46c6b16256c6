"""Entity tags of registries (RFC 9110, section 8.8.3): `"<version>-<digest of the body>"`. Pure.

The digest makes them strong: equal tags, equal bytes. A change is made on condition of the version alone, because what
a registrant saw and now changes is the registry, not how its shop has its answers written.
"""

import re
from typing import Final

_TAG: Final = re.compile(r'(?:W/)?"([0-9]{1,19})-[0-9a-f]{16}"', re.ASCII)


def make_etag(version: int, digest: str) -> str:
    """The tag with its quotes; `digest` is 16 hexadecimal digits."""
    return f'"{version}-{digest}"'


def allows_change(if_match: str, version: int) -> bool:
    """Whether `If-Match` names the version that the registry has now, or any (`*`)."""
    return if_match.strip() == "*" or str(version) in _TAG.findall(if_match)
