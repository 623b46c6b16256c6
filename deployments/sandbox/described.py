"""An enumeration whose members carry a description, for the pages of the sandbox."""

from enum import StrEnum
from typing import Self


class DescribedEnum(StrEnum):
    """Members are written as `NAME = "value", "What it does."`."""

    description: str

    def __new__(cls, value: str, description: str) -> Self:
        """A member that equals its value."""
        member = str.__new__(cls, value)
        member._value_, member.description = value, description
        return member

    @classmethod
    def descriptions(cls) -> dict[str, str]:
        """The description of each value."""
        return {member.value: member.description for member in cls}
