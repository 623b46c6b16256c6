"""The part of a registry's JSON that only its registrant sees. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from wishcraft.domain.addresses import normalise
from wishcraft.domain.invitations import InvitationStatus


class PrivateFields(NamedTuple):
    """What only its registrant sees of a registry."""

    event_location: str | None
    has_access_code: bool
    first_name: str
    last_name: str
    email: str
    co_registrants: Sequence[Mapping[str, str]]
    """With `first_name`, `last_name` and `email`."""
    statuses: Mapping[str, str]
    """An `InvitationStatus` for each normalised address; one without has expired long ago."""


def private_fields_payload(fields: PrivateFields) -> dict[str, Any]:
    """The fields that a registrant's answer has beside those that guests see."""
    registrant = {"first_name": fields.first_name, "last_name": fields.last_name, "email": fields.email}
    return {
        "event_location": fields.event_location,
        "has_access_code": fields.has_access_code,
        "registrant": _with_status(registrant, fields),
        "co_registrants": [_with_status(person, fields) for person in fields.co_registrants],
    }


def _with_status(person: Mapping[str, str], fields: PrivateFields) -> dict[str, str]:
    """The person; an invitation that was deleted had expired."""
    names = {name: person[name] for name in ("first_name", "last_name", "email")}
    return names | {"status": fields.statuses.get(normalise(person["email"]) or "", InvitationStatus.EXPIRED)}
