"""The signed reference of a mail."""

import pytest

from wishcraft.domain.mail_references import PURPOSE, MailKind, MailReference, make_token, read_token
from wishcraft.domain.signing import derive_keys

NEW, OLD = derive_keys(["new", "old"], PURPOSE)
REFERENCE = MailReference(MailKind.REMINDER, 0x1A, 2**62)


def test_reference_comes_back_from_its_token_whatever_the_case() -> None:
    token = make_token(REFERENCE, OLD)
    assert read_token(token, [NEW, OLD]) == REFERENCE
    assert read_token(token.upper(), [NEW, OLD]) == REFERENCE


def test_token_fits_in_the_local_part_of_an_address() -> None:
    longest = MailReference(MailKind.INVITATION, 2**63 - 1, 2**63 - 1)
    assert len("bounces+" + make_token(longest, NEW)) <= 64  # RFC 5321, section 4.5.3.1.1


@pytest.mark.parametrize(
    "token",
    [
        "",
        make_token(REFERENCE, NEW)[:-1],
        make_token(REFERENCE, NEW) + "a",
        make_token(REFERENCE, NEW).replace("r-", "i-", 1),
        make_token(REFERENCE, NEW).replace("-1a-", "-1b-", 1),
        make_token(REFERENCE, derive_keys(["other"], PURPOSE)[0]),
        "r-7-4000000000000000-\u00c4aaaaaaaaaaaaaaa",
        "r-\u0667-7-aaaaaaaaaaaaaaaa",
    ],
)
def test_token_that_no_key_signed_is_no_reference(token: str) -> None:
    assert read_token(token, [NEW, OLD]) is None
