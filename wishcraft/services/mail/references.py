"""Signs and verifies the references that go out with mails, with keys derived from ENCRYPTION_KEYS."""

from wishcraft.domain.mail_references import PURPOSE, MailKind, MailReference, make_token
from wishcraft.domain.signing import derive_keys
from wishcraft.settings import Settings


def reference_keys(settings: Settings) -> list[bytes]:
    """Return the signing keys of references, derived from ENCRYPTION_KEYS: the first signs, all verify."""
    return derive_keys(settings.encryption_secrets, PURPOSE)


def make_reference(settings: Settings, kind: MailKind, shop_id: int, row_id: int) -> str:
    """Return the signed token of a mail's row, for `make_mail`."""
    return make_token(MailReference(kind, shop_id, row_id), reference_keys(settings)[0])
