"""Format of responses in Redis for the peers that forward bytes: an entity tag, then the body."""

from hashlib import blake2b
from typing import Final

TAG_SIZE: Final = 16
"""Length of the entity tag in characters."""


def stored_key(domain: str, slug: str) -> str:
    """The Redis key of a response."""
    return f"bench:{domain}:{slug}"


def stored_value(body: bytes) -> bytes:
    """The Redis value of a response."""
    return blake2b(body, digest_size=TAG_SIZE // 2).hexdigest().encode() + body
