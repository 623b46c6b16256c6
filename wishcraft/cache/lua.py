"""A Lua script with named keys and arguments, for one entry or for a list of entries in one command."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from redis.typing import EncodableT

Call = Mapping[str, EncodableT]
"""The keys and arguments for one entry, by the names that the script declares."""


@dataclass(frozen=True)
class Script:
    """A Lua script whose body uses its keys and arguments as local variables of the declared names.

    `allow_oom` lets it run while Redis is over its memory limit.
    """

    name: str
    keys: tuple[str, ...]
    args: tuple[str, ...]
    body: str
    allow_oom: bool = False

    @cached_property
    def source(self) -> str:
        """The script for one entry."""
        return f"{self._shebang}{self._function}return {self.name}({self._values()})\n"

    @cached_property
    def batch_source(self) -> str:
        """The script for any number of entries: called with their number, then the `values`; returns a list of replies.

        One command for many entries costs a tenth of a command for each.
        """
        values = self._values("first_key + ", "first_arg + ")
        return (
            f"{self._shebang}{self._function}"
            "local replies = {}\n"
            "for number = 1, ARGV[1] do\n"
            f"    local first_key, first_arg = (number - 1) * {len(self.keys)}, (number - 1) * {len(self.args)} + 1\n"
            f"    replies[number] = {self.name}({values})\n"
            "end\n"
            "return replies\n"
        )

    @cached_property
    def batch_sha(self) -> str:
        """The name by which Redis knows `batch_source` once it has run: its SHA-1."""
        return hashlib.sha1(self.batch_source.encode(), usedforsecurity=False).hexdigest()

    def values(self, calls: Sequence[Call]) -> tuple[list[str], list[EncodableT]]:
        """The keys and the arguments of these calls, each in the declared order.

        Raises:
            KeyError: A call has no value for a declared name.
            TypeError: A call has a value for another name.
        """
        if any(len(call) > len(self.keys) + len(self.args) for call in calls):
            raise TypeError(f"{self.name} takes {', '.join(self.keys + self.args)}")
        return [str(call[key]) for call in calls for key in self.keys], [
            call[arg] for call in calls for arg in self.args
        ]

    @property
    def _shebang(self) -> str:
        return "#!lua flags=allow-oom\n" if self.allow_oom else ""

    @property
    def _function(self) -> str:
        return f"local function {self.name}({', '.join(self.keys + self.args)})\n{self.body.strip()}\nend\n"

    def _values(self, key_offset: str = "", arg_offset: str = "") -> str:
        keys = [f"KEYS[{key_offset}{number}]" for number in range(1, len(self.keys) + 1)]
        args = [f"ARGV[{arg_offset}{number}]" for number in range(1, len(self.args) + 1)]
        return ", ".join(keys + args)
