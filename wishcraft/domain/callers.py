"""Who is calling, and what that lets them do. Pure."""

from enum import StrEnum
from typing import Final, NamedTuple

from wishcraft.domain.cached_registry import AccessLevel


class Scope(StrEnum):
    """What a server's key may be used for."""

    READ = "read"
    """To read what guests are shown."""
    WRITE = "write"
    """To act for a customer, whom each request names; it includes reading."""
    ADMIN = "admin"
    """To see and change how the shop uses the service: its keys, its usage."""


EVERYTHING: Final = frozenset(Scope)


class Caller(NamedTuple):
    """The shop that a request is about, and on whose behalf it comes; a guest has no customer's id."""

    shop_id: int
    name: str
    """How the journal and the rate limits know this caller: `key:…`, `customer:…`, `guest:…` or `admin:…`."""
    customer_id: int | None = None
    scopes: frozenset[Scope] = frozenset({Scope.READ})

    @property
    def speaks_for_many(self) -> bool:
        """Whether it is a server, behind which there are many guests."""
        return self.name.startswith("key:")

    def owns(self, owner: int | None) -> bool:
        """Whether the registry with this owner (0 or None: nobody) is the caller's own."""
        return bool(owner) and self.customer_id == owner

    def can_read(self, access_level: AccessLevel, owner: int) -> bool:
        """Whether the caller may read what lies behind the gate without showing an access code."""
        return access_level is AccessLevel.OPEN or (access_level is not AccessLevel.ABSENT and self.owns(owner))
