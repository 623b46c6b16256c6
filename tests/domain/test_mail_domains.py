"""Rules for SPF, DKIM and DMARC records."""

from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wishcraft.domain.mail_domains import (
    RecordState,
    check_dkim,
    check_dmarc,
    check_owner,
    check_spf,
    dmarc_names,
    is_domain,
    is_selector,
    is_verified,
    own_sender,
    spf_terms,
)

OK, WEAK, WRONG, MISSING = RecordState.OK, RecordState.WEAK, RecordState.WRONG, RecordState.MISSING


def rsa(bits: int) -> str:
    key = generate_private_key(public_exponent=65_537, key_size=bits).public_key()
    return b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


@pytest.mark.parametrize(
    ("texts", "lookups", "include", "state"),
    [
        ([], 0, None, MISSING),
        (["google-site-verification=1", "v=spf10 -all", "v=spf2.0/pra -all"], 0, None, MISSING),
        (["v=spf1 ip4:192.0.2.1 -all"], 0, None, OK),
        (["other", "V=SPF1 mx ~ALL"], 1, None, OK),
        (["v=spf1 redirect=_spf.example.com"], 1, None, OK),
        (["v=spf1 ip4:192.0.2.1 -all", "v=spf1 -all"], 0, None, WRONG),
        (["v=spf1 include:SendGrid.net ~all"], 1, "sendgrid.net", OK),
        (["v=spf1 +include:sendgrid.net ~all"], 1, "sendgrid.net", OK),
        (["v=spf1 include:sendgrid.net.evil.example ~all"], 1, "sendgrid.net", WRONG),
        (["v=spf1 include:a.example -all"], 10, None, OK),
        (["v=spf1 include:a.example -all"], 11, None, WRONG),
        (["v=spf1 +all"], 0, None, WRONG),
        (["v=spf1 all"], 0, None, WRONG),
        (["v=spf1 mx ?all"], 1, None, WEAK),
        (["v=spf1 mx"], 1, None, WEAK),
        (["v=spf1"], 0, None, WEAK),
    ],
)
def test_spf_record_names_who_may_send(texts: list[str], lookups: int, include: str | None, state: RecordState) -> None:
    checked = check_spf("example.com", texts, lookups, include)
    assert checked.state is state, checked
    assert bool(checked.remedy) is (state is not OK)


def test_terms_that_cost_lookups_are_counted() -> None:
    record = "v=spf1 a mx/24 ~ptr exists:%{i}.example.com include:_spf.Example.com. ?include:b.example ip4:192.0.2.0/24"
    assert spf_terms(record) == (6, ["_spf.example.com", "b.example"])
    assert spf_terms("v=spf1 a:mail.example.com redirect=c.example") == (2, ["c.example"])
    assert spf_terms("v=spf1 include:%{d}.example all amx include") == (1, [])


@pytest.mark.parametrize(
    ("texts", "state"),
    [
        ([], MISSING),
        (["v=spf1 -all"], MISSING),
        (["v=DKIM2; p=AAAA"], MISSING),
        (["v=DKIM1; p="], WRONG),
        (["v=DKIM1; p=not base64!"], WRONG),
        (["v=DKIM1; p=AAAÄ"], WRONG),
        ([f"v=DKIM1; k=rsa; p={rsa(2048)}"], OK),
        ([f"p={rsa(2048)[:60]} {rsa(2048)[60:]}"], OK),
        ([f"v=DKIM1;k=rsa;p={rsa(1024)};"], WEAK),
        (["v=DKIM1; p=" + b64encode(bytes(94)).decode()], WRONG),
        (["v=DKIM1; k=ed25519; p=" + b64encode(bytes(32)).decode()], OK),
    ],
)
def test_dkim_record_has_a_key_that_is_long_enough(texts: list[str], state: RecordState) -> None:
    assert check_dkim("s1._domainkey.example.com", texts).state is state


@pytest.mark.parametrize(
    ("texts", "state"),
    [
        ([], MISSING),
        (["v=DMARC1x; p=reject"], MISSING),
        (["v=DMARC1; p=reject"], OK),
        (["v = DMARC1 ; P=reject", "other"], WRONG),
        (["v=DMARC1;p=Quarantine;"], OK),
        (["v=DMARC1; p=none; rua=mailto:a@example.com"], WEAK),
        (["v=DMARC1"], WRONG),
        (["v=DMARC1; p=reject", "v=DMARC1; p=none"], WRONG),
    ],
)
def test_dmarc_record_has_one_policy(texts: list[str], state: RecordState) -> None:
    assert check_dmarc("_dmarc.example.com", texts).state is state


def test_policy_of_a_parent_counts_but_not_that_of_a_top_level_domain() -> None:
    assert dmarc_names("mail.shop.example.com") == [
        "_dmarc.mail.shop.example.com",
        "_dmarc.shop.example.com",
        "_dmarc.example.com",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("example.com", True), ("a-b.example", True), ("localhost", False), ("-a.example", False), ("a..example", False),
     ("example.com/x", False), ("ex ample.com", False), (".".join(["a" * 63] * 4), False), ("", False)],
)  # fmt: skip
def test_name_that_can_be_a_domain(text: str, expected: bool) -> None:
    assert is_domain(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("s1", True), ("a.b_c-d", True), ("", False), ("a*", False), ("a" * 64, False), ("a..b", False), ("a.", False)],
)
def test_name_that_can_be_a_selector(text: str, expected: bool) -> None:
    assert is_selector(text) is expected


@pytest.mark.parametrize(
    ("texts", "state"),
    [
        ([], MISSING),
        (["shop=maple.myshopify.com"], OK),
        (["other", " Shop=Maple.myshopify.com "], OK),
        (["shop=oak.myshopify.com"], WRONG),
        (["shop=maple.myshopify.com.evil.example"], WRONG),
        (["shop=maple.myshopify.com shop=oak.myshopify.com"], WRONG),
    ],
)
def test_domain_names_the_shop_that_may_send_from_it(texts: list[str], state: RecordState) -> None:
    checked = check_owner("maple.example", "maple.myshopify.com", texts)
    assert (checked.name, checked.state) == ("_wishcraft.maple.example", state)
    assert bool(checked.remedy) is (state is not OK)


def test_domain_is_verified_by_its_owner_and_a_key() -> None:
    owner, stranger = (check_owner("a.example", "a", [f"shop={shop}"]) for shop in "ab")
    key, no_key = (check_dkim("s._domainkey.a.example", texts) for texts in ([f"p={rsa(2048)}"], []))
    assert is_verified([owner, no_key, key])
    assert not any(map(is_verified, ([], [owner], [key], [owner, no_key], [stranger, key])))


def test_own_sender_is_used_while_its_domain_is_the_verified_one() -> None:
    assert own_sender("gifts@Maple.example", "maple.example") == "gifts@Maple.example"
    assert own_sender("gifts@oak.example", "maple.example") is None
    assert own_sender("gifts@oak.example", None) is None
    assert own_sender(None, "maple.example") is None
