"""A registry's answer as the cache keeps it, and what a caller must bring to be given it. Pure."""

from dataclasses import dataclass
from enum import IntEnum


class Gate(IntEnum):
    """What a caller must bring to be given a registry."""

    OPEN = 0
    CODE = 1
    """The registry's access code."""
    OWNER = 2
    """To be the registrant."""


@dataclass(frozen=True, slots=True)
class Document:
    """The answer's bytes at one version of the registry; `owner` is the registrant's customer id in Shopify."""

    version: int
    gate: Gate
    owner: int | None
    body: bytes
