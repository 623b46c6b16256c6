"""`SmtpMailer` against a server with scripted replies."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
from pydantic import SecretStr

from tests.support.connections import listening
from tests.support.waiting import PATIENCE_SECONDS
from wishcraft.errors import (
    AddressRefused,
    MailAcceptanceUnknown,
    MailPostponed,
    MailRefused,
    MailUnavailable,
    SenderRefused,
)
from wishcraft.mail.mailer import Mail
from wishcraft.mail.providers.smtp import SmtpMailer
from wishcraft.urls.mail import parse_smtp

MAIL = Mail("emma@example.com", "Maple", "Hello", "Hello", "<p>Hello</p>", "<one@shop.example>", "https://x.example/u")


@dataclass
class Script:
    """Replies by command (`EHLO`, `MAIL`, ..., `.` for the end of the content), and the commands received."""

    replies: dict[str, str] = field(default_factory=dict)
    closes_after: str | None = None
    most_mails: int | None = None
    """How many mails a connection takes; then it ends by 421 in reply to `last_reply_to`."""
    last_reply_to: str = ""
    connections: int = 0
    received: list[str] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)

    async def speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        defaults = {"EHLO": "250-script\r\n250 AUTH PLAIN", "AUTH": "235 2.7.0 Welcome", "DATA": "354 Go on"}
        writer.write(b"220 script\r\n")
        in_content, mails = False, 0
        while line := (await reader.readline()).decode():
            if in_content and line != ".\r\n":
                continue
            verb = line.split()[0].upper()
            self.received.append(verb)
            if verb == "RCPT":
                self.recipients.append(line.strip().removeprefix("RCPT TO:"))
            reply = self.replies.get(verb, defaults.get(verb, "250 2.0.0 OK"))
            if mails == self.most_mails and verb == self.last_reply_to:
                reply = "421 4.7.0 Too many messages in this connection"
            mails += verb == "."
            in_content = verb == "DATA" and reply.startswith("354")
            writer.write(f"{reply}\r\n".encode())
            if verb in {self.closes_after, "QUIT"}:
                break


@asynccontextmanager
async def conversation(script: Script, login: str = "") -> AsyncIterator[SmtpMailer]:
    async with listening(script.speak) as port:
        mailer = SmtpMailer(
            parse_smtp(SecretStr(f"smtp://{login}127.0.0.1:{port}")),
            "registry@wishcraft.example",
            timeout=PATIENCE_SECONDS,
        )
        yield mailer
        await mailer.close()


async def test_one_connection_carries_many_mails() -> None:
    script = Script()
    async with conversation(script) as mailer:
        for _ in range(3):
            await mailer.send(MAIL)
    assert (script.connections, script.received.count("."), script.received[-1]) == (1, 3, "QUIT")


async def test_internationalized_domain_needs_no_extension_of_the_server() -> None:
    script = Script()
    async with conversation(script) as mailer:
        await mailer.send(replace(MAIL, recipient="jo@bücher.example"))
        with pytest.raises(MailRefused):
            await mailer.send(replace(MAIL, recipient="zoë@bücher.example"))
    assert script.received.count("RCPT") == 1
    assert script.recipients == ["<jo@xn--bcher-kva.example>"]


@pytest.mark.parametrize("reply", ["garbage", "251 2.0.0 Perhaps", "354 Go on", "999 Perhaps"])
async def test_answer_to_the_mail_that_has_no_meaning_leaves_the_outcome_unknown(reply: str) -> None:
    script = Script({".": reply})
    async with conversation(script) as mailer:
        for _ in range(2):
            with pytest.raises(MailAcceptanceUnknown):
                await mailer.send(MAIL)
    assert (script.connections, script.received.count(".")) == (2, 2)


async def test_idle_connection_closed_by_the_server_is_replaced() -> None:
    script = Script(closes_after=".")
    async with conversation(script) as mailer:
        await mailer.send(MAIL)
        await mailer.send(MAIL)
    assert (script.connections, script.received.count(".")) == (2, 2)


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "."])
async def test_connection_that_the_server_ends_after_some_mails_is_replaced(verb: str) -> None:
    script = Script(most_mails=1, last_reply_to=verb)
    async with conversation(script) as mailer:
        for _ in range(3):
            await mailer.send(MAIL)
    assert script.connections == 3


async def test_login_is_percent_decoded_from_the_url() -> None:
    script = Script()
    async with conversation(script, "us%40er:se%2Fcret@") as mailer:
        await mailer.send(MAIL)
    assert "AUTH" in script.received


@pytest.mark.parametrize(
    ("replies", "error"),
    [
        ({"AUTH": "535 5.7.8 Wrong"}, SenderRefused),
        ({"AUTH": "454 4.7.0 Too many login attempts, try again later"}, MailUnavailable),
        ({"EHLO": "421 4.3.2 Going down", "HELO": "421 4.3.2 Going down"}, MailUnavailable),
        ({"MAIL": "451 4.3.0 Later"}, MailUnavailable),
        ({"MAIL": "553 5.1.8 Who are you"}, SenderRefused),
        ({"RCPT": "450 4.2.1 Busy"}, MailPostponed),
        ({"RCPT": "421 4.7.0 Closing"}, MailUnavailable),
        ({"RCPT": "550 No such user"}, AddressRefused),
        ({"RCPT": "550 5.2.1 Disabled"}, AddressRefused),
        ({"RCPT": "551 User does not exist"}, AddressRefused),
        ({"RCPT": "550 Go away"}, MailRefused),
        ({"RCPT": "550 185.1.1.9 may not relay"}, MailRefused),
        ({"RCPT": "553 That domain is not in my list of allowed rcpthosts"}, MailRefused),
        ({"RCPT": "554 No such user"}, MailRefused),
        ({"RCPT": "550 5.1.8 Unknown user as a sender"}, MailRefused),
        ({"RCPT": "552 5.2.2 Mailbox full for good"}, MailRefused),
        ({"RCPT": "554 5.7.1 emma@example.com: relay access denied"}, MailRefused),
        ({"DATA": "451 4.3.0 Later"}, MailPostponed),
        ({".": "452 4.3.1 No room"}, MailPostponed),
        ({".": "550 5.1.1 No such user"}, AddressRefused),
        ({".": "554 5.6.0 Not like this"}, MailRefused),
    ],
)
async def test_each_reply_raises_its_error(replies: dict[str, str], error: type[Exception]) -> None:
    async with conversation(Script(replies), "user:secret@") as mailer:
        with pytest.raises(error) as caught:
            await mailer.send(MAIL)
    assert caught.type is error
    assert "secret" not in str(caught.value)
    assert "emma" not in str(caught.value)
