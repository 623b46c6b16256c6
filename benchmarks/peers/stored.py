"""The answers as they lie in Redis for those peers that pass them on as they are: a tag, then the body."""

from hashlib import blake2b
from typing import Final

TAG_SIZE: Final = 16
"""Characters of the entity tag."""


def stored_key(domain: str, slug: str) -> str:
    """Where one lies."""
    return f"bench:{domain}:{slug}"


def stored_value(body: bytes) -> bytes:
    """What lies there."""
    return blake2b(body, digest_size=TAG_SIZE // 2).hexdigest().encode() + body
