"""Normalization and hashing of e-mail addresses. Pure."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import idna

_MAX_LENGTH: Final = 254  # RFC 5321, section 4.5.3.1.3, without the brackets
_MAX_TYPED: Final = 4 * _MAX_LENGTH
"""Of an address as it is typed: NFC takes time with the square of the accents in a row."""
_ATOM: Final = r"[^\s@<>,;:.\"()\[\]\\\x00-\x1f\x7f]+"
_LOCAL: Final = re.compile(rf"(?!.*=\?){_ATOM}(?:\.{_ATOM})*")
"""A dot-atom (RFC 5321, section 4.1.2), also beyond ASCII (RFC 6531). `=?` would begin an encoded word (RFC 2047)."""
_MAX_LOCAL_BYTES: Final = 64
MAX_BOUNCE_LOCAL: Final = 10
"""Characters: with `+` and a reference of 53 they are the 64 that RFC 5321, section 4.5.3.1.1, permits."""
SHOP_ADDRESS: Final = (
    r"^[A-Za-z0-9_+-]{1,32}(\.[A-Za-z0-9_+-]{1,31})?@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}$"
)
"""Pattern of the addresses that a shop can name for its mails: plain ones, which every mail program can write to."""
_LABEL: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")


def normalise(address: str) -> str | None:
    """The one spelling of the address for all that reach its mailbox; None if it is not valid.

    Without surrounding spaces, in lower case, with its domain as DNS has it (IDNA 2008): `jo@xn--bcher-kva.example`.
    RFC 5321 lets a server distinguish capitals in the local part; in practice none does.
    """
    lower = address.strip().lower()
    if len(lower) > _MAX_TYPED:
        return None
    local, _, domain = unicodedata.normalize("NFC", lower).rpartition("@")
    ascii_domain = _ascii_domain(domain)
    if ascii_domain is None or len(local.encode(errors="replace")) > _MAX_LOCAL_BYTES or not _LOCAL.fullmatch(local):
        return None
    invisible = {"Cf", "Cc", "Cs", "Zl", "Zp"}
    if not local.isascii() and any(unicodedata.category(character) in invisible for character in local):
        return None
    normalised = f"{local}@{ascii_domain}"
    return normalised if len(normalised) <= _MAX_LENGTH else None


def normalise_bounce_address(address: str) -> str | None:
    """The normalised address, if its local part leaves room for `+` and a reference; otherwise None."""
    found = normalise(address) or ""
    local = found.rpartition("@")[0]
    return found if found.isascii() and 0 < len(local) <= MAX_BOUNCE_LOCAL and "+" not in local else None


def normalise_all(addresses: Iterable[str]) -> list[str]:
    """The normalised valid addresses, each once, sorted."""
    return sorted({normalised for address in addresses if (normalised := normalise(address))})


def mask(address: str) -> str:
    """The address as its owner recognises it and others do not: `e***@m***.example`."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}***@{domain[:1]}***.{domain.rpartition('.')[2]}"


def mailbox_key(address: str) -> str:
    """The key under which normalised addresses are counted: the same for those that surely reach one mailbox.

    Many servers ignore what follows a `+`, and Gmail the dots and which of its two domains is written.
    """
    local, _, domain = address.rpartition("@")
    local = local.partition("+")[0]
    return f"{local.replace('.', '')}@gmail.com" if domain in {"gmail.com", "googlemail.com"} else f"{local}@{domain}"


def mailbox_hash(shop_id: int, address: str) -> bytes:
    """SHA-256 of the `mailbox_key` of a normalised address, salted as `address_hash`."""
    return address_hash(shop_id, mailbox_key(address))


@lru_cache(4_096)
def _ascii_domain(domain: str) -> str | None:
    """The domain as DNS has it; None if it is not a host name with a top-level domain.

    Or if it is only mapped to one, as with full-width letters: people do not write them, and attackers do.
    """
    try:
        encoded = idna.encode(domain, std3_rules=True).decode()
        if domain not in {encoded, idna.decode(encoded)}:
            return None
    except UnicodeError:  # which idna's errors are
        return None
    labels = encoded.split(".")
    return encoded if len(labels) > 1 and all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdigit() else None


def address_hash(shop_id: int, address: str) -> bytes:
    """SHA-256 of a normalised address, salted with the shop's id, so that shops cannot compare hashes.

    The store computes the same in SQL: `store.suppressions.hash_sql`.
    """
    return hashlib.sha256(f"{shop_id}:{address}".encode()).digest()
