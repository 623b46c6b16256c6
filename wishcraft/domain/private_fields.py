"""The part of a registry's JSON that only its registrant sees. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from wishcraft.domain.addresses import normalise
from wishcraft.domain.invitations import InvitationStatus


class PrivateFields(NamedTuple):
    """Private fields of a registry, for its registrant alone."""

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
    people = [
        {name: person[name] for name in registrant}
        | {"status": fields.statuses.get(normalise(person["email"]) or "", InvitationStatus.EXPIRED)}
        for person in (registrant, *fields.co_registrants)
    ]
    return {
        "event_location": fields.event_location,
        "has_access_code": fields.has_access_code,
        "registrant": people[0],
        "co_registrants": people[1:],
    }
