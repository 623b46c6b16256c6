"""Normalization and hashing of e-mail addresses. Pure."""

import hashlib
import re
from typing import Final

_MAX_LENGTH: Final = 254  # RFC 5321, section 4.5.3.1.3, without the brackets
_ATOM: Final = r"[^\s@<>,;:.\"()\[\]\\\x00-\x1f\x7f]+"
_LOCAL: Final = re.compile(rf"(?!.*=\?){_ATOM}(?:\.{_ATOM})*")
"""A dot-atom (RFC 5321, section 4.1.2), also beyond ASCII (RFC 6531). `=?` would begin an encoded word (RFC 2047)."""
_MAX_LOCAL_BYTES: Final = 64
_LABEL: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")


def normalise(address: str) -> str | None:
    """The address in lower case without surrounding spaces, or None if it is not a valid mailbox.

    RFC 5321 lets a server distinguish capitals in the local part; in practice none does.
    """
    normalised = address.strip().lower()
    local, _, domain = normalised.rpartition("@")
    if len(normalised) > _MAX_LENGTH or len(local.encode(errors="replace")) > _MAX_LOCAL_BYTES:
        return None
    return normalised if _LOCAL.fullmatch(local) and _is_domain(domain) else None


def _is_domain(domain: str) -> bool:
    """Whether this is a host name with a top-level domain, also an internationalized one."""
    try:
        labels = domain.encode("idna").decode().split(".")
    except UnicodeError:
        return False
    return len(labels) > 1 and all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdigit()


def with_ascii_domain(address: str) -> str:
    """The valid address with its domain as DNS has it (RFC 3490): `jo@xn--bcher-kva.example`.

    A server then needs SMTPUTF8 only for a local part beyond ASCII.
    """
    local, _, domain = address.rpartition("@")
    return f"{local}@{domain.encode('idna').decode()}"


def address_hash(shop_id: int, address: str) -> bytes:
    """SHA-256 of a normalised address, salted with the shop's id, so that shops cannot compare hashes.

    The store computes the same in SQL: `sha256(convert_to(shop_id || ':' || recipient, 'UTF8'))`.
    """
    return hashlib.sha256(f"{shop_id}:{address}".encode()).digest()
