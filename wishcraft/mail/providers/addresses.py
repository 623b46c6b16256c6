"""The addresses of MAIL_FROM and BOUNCE_ADDRESS. No error message shows a value."""

from wishcraft.domain.addresses import MAX_BOUNCE_LOCAL, normalise, normalise_bounce_address
from wishcraft.errors import ConfigurationError


def parse_sender(mail_from: str | None) -> str:
    """The normalised address of MAIL_FROM; empty in a process that sends no mail.

    Raises:
        ConfigurationError: It is not an address, or one to which not every mail server can send a bounce.
    """
    sender = normalise(mail_from or "") or ""
    if mail_from is not None and not (sender and sender.isascii()):
        raise ConfigurationError("MAIL_FROM must be an address in ASCII, such as registry@example.com")
    return sender


def parse_bounce_address(address: str | None) -> str | None:
    """The normalised BOUNCE_ADDRESS, whose local part leaves room for a reference.

    Raises:
        ConfigurationError: It is not an address, or its local part is too long.
    """
    if not address:  # empty, as Compose passes on a variable that is not set
        return None
    found = normalise_bounce_address(address)
    if found is None:
        raise ConfigurationError(
            f"BOUNCE_ADDRESS must be an address with at most {MAX_BOUNCE_LOCAL} characters before the @ and no +, "
            "such as bounces@example.com"
        )
    return found
