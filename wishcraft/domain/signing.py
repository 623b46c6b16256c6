"""Keys that sign what goes out and comes back. Pure."""

import hashlib
import hmac
from collections.abc import Sequence


def derive_keys(secrets: Sequence[str], purpose: bytes) -> list[bytes]:
    """The keys of a purpose, from the application's secrets: what one of another purpose has signed is not valid."""
    return [hmac.digest(secret.encode(), purpose, hashlib.sha256) for secret in secrets]
