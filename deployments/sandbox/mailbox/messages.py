"""The messages that the mail server received, and the faults that it simulates. No network here."""

import json
from base64 import b64encode
from collections import deque
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, Final

from deployments.sandbox.described import DescribedEnum
from deployments.sandbox.mail_faults import AddressFault, AddressFaults
from deployments.sandbox.secret_files import open_private

MAX_MESSAGES: Final = 2_000


class FaultKind(DescribedEnum):
    """The faults that the server can simulate."""

    UNAVAILABLE = "unavailable", "421 to the sender: the server is closing."
    DEFER = "defer", "451 to the recipient: try again later."
    REFUSE = "refuse", "550 5.1.1 to the recipient: no such address."
    REJECT = "reject", "554 5.7.1 to the content: refused by policy."
    HANG = "hang", "The server reads the content and never replies."
    DROP = "drop", "The server stores the message and closes the connection without a reply."
    BOUNCE = "bounce", "The message is accepted; then a bounce says that there is no such mailbox."
    COMPLAIN = "complain", "The message is accepted; then a notification says that its reader complained."


class Fault(AddressFault[FaultKind]):
    """An active fault of the mail server."""


@dataclass(frozen=True)
class ReceivedMessage:
    """One message as received."""

    number: int
    received_at: datetime
    sender: str
    recipients: list[str]
    content: bytes

    @classmethod
    def from_json(cls, line: str) -> "ReceivedMessage":
        """Read a message from the line that `to_json` wrote."""
        stored = json.loads(line)
        received_at, content = datetime.fromisoformat(stored["received_at"]), stored["content"].encode("latin-1")
        return cls(**stored | {"received_at": received_at, "content": content})

    def to_json(self) -> str:
        """The message as one line of JSON."""
        plain = {"received_at": self.received_at.isoformat(), "content": self.content.decode("latin-1")}
        return json.dumps(asdict(self) | plain) + "\n"

    @property
    def parsed(self) -> EmailMessage:
        """The mail, parsed from its bytes."""
        return message_from_bytes(self.content, policy=default)

    def summary(self) -> dict[str, Any]:
        """The fields that the list of messages shows."""
        parsed = self.parsed
        return {
            "number": self.number,
            "received_at": self.received_at.isoformat(),
            "from": str(parsed["From"]),
            "to": self.recipients,
            "subject": str(parsed["Subject"]),
            "message_id": str(parsed["Message-ID"]),
        }

    def details(self) -> dict[str, Any]:
        """The summary, all headers, and the text and HTML bodies."""
        parsed = self.parsed
        return self.summary() | {
            "headers": [[name, str(value)] for name, value in parsed.items()],
            "text": _body(parsed, "plain"),
            "html": _with_inline_images(_body(parsed, "html"), parsed),
        }


@dataclass
class Mailbox:
    """The received messages, oldest first, and the active faults. With a file, the messages survive a restart."""

    file: Path | None = None
    messages: deque[ReceivedMessage] = field(default_factory=lambda: deque(maxlen=MAX_MESSAGES))
    faults: AddressFaults[Fault] = field(default_factory=AddressFaults)
    last_number: int = 0

    def __post_init__(self) -> None:
        if self.file and self.file.exists():
            lines = self.file.read_text().splitlines(keepends=True)
            # A kill may leave an incomplete last line.
            self.messages.extend(ReceivedMessage.from_json(line) for line in lines if line.endswith("\n"))
            self.file.write_text("".join(message.to_json() for message in self.messages))
            self.last_number = self.messages[-1].number if self.messages else 0

    def add(self, sender: str, recipients: list[str], content: bytes) -> None:
        """Store a message; beyond MAX_MESSAGES the oldest one is dropped."""
        self.last_number += 1
        self.messages.append(ReceivedMessage(self.last_number, datetime.now(UTC), sender, recipients, content))
        if self.file:
            with open(self.file, "a", opener=open_private) as file:
                file.write(self.messages[-1].to_json())

    def clear(self) -> None:
        """Delete all messages."""
        self.messages.clear()
        if self.file:
            self.file.unlink(missing_ok=True)


def _body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    return str(part.get_content()) if part else ""


def _with_inline_images(html: str, message: EmailMessage) -> str:
    """The HTML with its attached images (`cid:` URLs, RFC 2392) as `data:` URLs, as a mail program shows it."""
    for part in message.walk():
        if part["Content-ID"]:
            data = b64encode(part.get_content()).decode()
            name = str(part["Content-ID"]).strip("<>")
            html = html.replace(f"cid:{name}", f"data:{part.get_content_type()};base64,{data}")
    return html
