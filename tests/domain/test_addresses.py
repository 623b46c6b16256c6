import pytest

from wishcraft.domain.addresses import address_hash, mailbox_key, normalise, normalise_all


def test_several_addresses_normalise_to_valid_and_unique_ones() -> None:
    given = [" Emma@Example.com", "emma@example.com", "hugo@example.com", "nobody", "", "a b@example.com"]
    assert normalise_all(given) == ["emma@example.com", "hugo@example.com"]


@pytest.mark.parametrize(
    "address",
    [
        "em\u202ema@b.example", "em\u200bma@b.example", "em\u200dma@b.example",
        "a@b.example\r\nBcc: x@y.example", "<a@b.example>", "a@b@c.example", "@b.example", "a@",
        "a" * 65 + "@b.example", "ä" * 33 + "@b.example", "a@b", "a@localhost", "a@-x.example", "a@x-.example",
        "a@x..example", "a@.example", "a@x.example.", "a@127.0.0.1", "a@x.1", "a@[127.0.0.1]", "a@x_y.example",
        "a@" + "x" * 64 + ".example", "a..b@x.example", ".a@x.example", "a.@x.example", "a b@x.example",
        "=?utf-8?q?a?=@x.example", "a@xn--\u00fc.example", "a@" + "x." * 130 + "example",
        "a@\uff47mail.com", "a@gm\u00adail.com", "a@gmail。com", "a@gmail\uff0ecom", "a@gmail\u200b.com", "a@①.example",
        "a@xn--zz.example", "a@❤.example", "a\u037eb@x.example",
    ],
)  # fmt: skip
def test_an_invalid_address_normalises_to_none(address: str) -> None:
    assert normalise(address) is None


@pytest.mark.parametrize(
    ("address", "normalised"),
    [
        ("a@b.example", "a@b.example"),
        ("A.B+c@B.Example", "a.b+c@b.example"),
        ("o'neil@x.example", "o'neil@x.example"),
        ("Jörg@Bücher.example", "jörg@xn--bcher-kva.example"),
        ("jo\u0308rg@bu\u0308cher.example", "jörg@xn--bcher-kva.example"),
        ("a@xn--bcher-kva.example", "a@xn--bcher-kva.example"),
        ("a@straße.example", "a@xn--strae-oqa.example"),
        ("a@日本.example", "a@xn--wgv71a.example"),
        ("a>\u0338b@x.example", "a\u226fb@x.example"),
    ],
)
def test_all_spellings_of_a_valid_address_normalise_to_one(address: str, normalised: str) -> None:
    assert normalise(f" {address} ") == normalised
    assert normalise(normalised) == normalised


@pytest.mark.parametrize(
    ("address", "same"),
    [
        ("jo+a@x.example", "jo@x.example"),
        ("j.o.e+1@gmail.com", "joe@gmail.com"),
        ("j.oe@googlemail.com", "joe@gmail.com"),
    ],
)
def test_addresses_of_one_mailbox_have_one_key(address: str, same: str) -> None:
    assert mailbox_key(address) == mailbox_key(same)
    assert mailbox_key("j.oe@x.example") != mailbox_key("joe@x.example")


def test_two_shops_store_different_hashes_of_an_address() -> None:
    assert address_hash(1, "a@b.example") != address_hash(2, "a@b.example")


def test_an_address_of_a_million_accents_is_refused_without_composing_it() -> None:
    """Which would take minutes: longer than a test may."""
    assert normalise("a" + 500_000 * "\u0316\u0301" + "@example.com") is None
