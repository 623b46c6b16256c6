"""What has come, and how the mail server is to misbehave. No network here."""

import json
import os
from base64 import b64encode
from collections import deque
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

MOST_KEPT: Final = 2_000


class FaultKind(StrEnum):
    """What the server can do wrong."""

    AWAY = "away"
    """421 to the sender: closing, come back later."""
    DEFER = "defer"
    """451 to the recipient: try again later."""
    REFUSE = "refuse"
    """550 5.1.1 to the recipient: there is no such address."""
    REJECT = "reject"
    """554 5.7.1 to the content: not from you."""
    HANG = "hang"
    """Takes the content and never answers."""
    DROP = "drop"
    """Keeps the mail, and breaks the connection off instead of saying so."""


@dataclass
class Fault:
    """A fault that is on: for one address or (`None`) for all, `remaining` times or (`None`) until it is put off."""

    kind: FaultKind
    address: str | None = None
    remaining: int | None = None


@dataclass(frozen=True)
class Letter:
    """One mail as it came."""

    number: int
    received_at: datetime
    sender: str
    recipients: list[str]
    content: bytes

    @classmethod
    def read(cls, line: str) -> "Letter":
        """What `line` wrote."""
        kept = json.loads(line)
        received_at, content = datetime.fromisoformat(kept["received_at"]), kept["content"].encode("latin-1")
        return cls(**kept | {"received_at": received_at, "content": content})

    def line(self) -> str:
        """The mail as a line of a file."""
        plain = {"received_at": self.received_at.isoformat(), "content": self.content.decode("latin-1")}
        return json.dumps(asdict(self) | plain) + "\n"

    @property
    def message(self) -> EmailMessage:
        """The mail, taken apart."""
        return message_from_bytes(self.content, policy=default)

    def outline(self) -> dict[str, Any]:
        """What a list shows of it."""
        message = self.message
        return {
            "number": self.number,
            "received_at": self.received_at.isoformat(),
            "from": str(message["From"]),
            "to": self.recipients,
            "subject": str(message["Subject"]),
            "message_id": str(message["Message-ID"]),
        }

    def whole(self) -> dict[str, Any]:
        """All of it: headers, and the text and HTML bodies."""
        message = self.message
        return self.outline() | {
            "headers": [[name, str(value)] for name, value in message.items()],
            "text": _body(message, "plain"),
            "html": _with_pictures(_body(message, "html"), message),
        }


@dataclass
class Letterbox:
    """The letters, the oldest first, and the faults. With a file, the letters are still there after a restart."""

    file: Path | None = None
    letters: deque[Letter] = field(default_factory=lambda: deque(maxlen=MOST_KEPT))
    faults: list[Fault] = field(default_factory=list)
    taken: int = 0

    def __post_init__(self) -> None:
        if self.file and self.file.exists():
            lines = self.file.read_text().splitlines(keepends=True)
            self.letters.extend(Letter.read(line) for line in lines if line.endswith("\n"))  # a kill may break one off
            self.file.write_text("".join(letter.line() for letter in self.letters))
            self.taken = self.letters[-1].number if self.letters else 0

    def take(self, sender: str, recipients: list[str], content: bytes) -> None:
        """Keep one more; the oldest goes when there are too many."""
        self.taken += 1
        self.letters.append(Letter(self.taken, datetime.now(UTC), sender, recipients, content))
        if self.file:
            with open(self.file, "a", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(self.letters[-1].line())

    def clear(self) -> None:
        """Throw all letters away."""
        self.letters.clear()
        if self.file:
            self.file.unlink(missing_ok=True)

    def set_fault(self, fault: Fault) -> None:
        """Switch a fault on in place of the like; off if nothing of it remains."""
        self.faults = [each for each in self.faults if (each.kind, each.address) != (fault.kind, fault.address)]
        if fault.remaining != 0:
            self.faults.append(fault)

    def strikes(self, addresses: list[str], *kinds: FaultKind) -> FaultKind | None:
        """The fault of these kinds that is on for one of the addresses, counted as having struck."""
        wanted = {address.lower() for address in addresses}
        for fault in self.faults:
            if fault.kind in kinds and (fault.address is None or fault.address.lower() in wanted):
                if fault.remaining is not None:
                    self.set_fault(Fault(fault.kind, fault.address, fault.remaining - 1))
                return fault.kind
        return None


def _body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    return str(part.get_content()) if part else ""


def _with_pictures(html: str, message: EmailMessage) -> str:
    """The HTML with the pictures that came along (RFC 2392) put into it, as a mail program shows it."""
    for part in message.walk():
        if part["Content-ID"]:
            data = b64encode(part.get_content()).decode()
            name = str(part["Content-ID"]).strip("<>")
            html = html.replace(f"cid:{name}", f"data:{part.get_content_type()};base64,{data}")
    return html
