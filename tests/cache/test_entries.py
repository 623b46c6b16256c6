from hypothesis import given
from hypothesis import strategies as st

from wishcraft.cache import entries
from wishcraft.domain.cached_registry import AccessLevel, CachedRegistry

U64 = st.integers(0, 2**64 - 1)
DOCUMENTS = st.builds(CachedRegistry, U64, st.sampled_from(AccessLevel), U64, st.binary(max_size=200))
ERA = b"12345678"


@given(DOCUMENTS, st.binary(min_size=8, max_size=8), U64)
def test_an_entry_comes_back_as_it_was_stored(document: CachedRegistry, era: bytes, soft_expiry_ms: int) -> None:
    entry = entries.compose(document, era, soft_expiry_ms)
    assert entries.unpack(entries.pack(entry)) == entry


@given(DOCUMENTS)
def test_the_first_bytes_are_enough_for_the_header(document: CachedRegistry) -> None:
    entry = entries.compose(document, ERA, 1)
    assert entries.unpack_header(entries.pack(entry)[: entries.HEADER_SIZE]) == entry.header


@given(st.binary(max_size=100).filter(lambda raw: raw[:1] != b"\x02"))
def test_an_unknown_format_is_a_miss(raw: bytes) -> None:
    assert entries.unpack(raw) is None


def test_a_cut_header_is_a_miss() -> None:
    raw = entries.pack(entries.compose(CachedRegistry(1, AccessLevel.OPEN, 0, b""), ERA, 1))
    assert entries.unpack(raw[:-1]) is None


def test_the_etag_changes_with_the_body_and_with_the_version_and_with_nothing_else() -> None:
    etags = [
        entries.compose(CachedRegistry(version, access_level, 0, body), ERA, when).header.etag
        for version, access_level, body, when in [
            (1, AccessLevel.OPEN, b"a", 1),
            (1, AccessLevel.OWNER, b"a", 2),
            (1, AccessLevel.OPEN, b"b", 1),
            (2, AccessLevel.OPEN, b"a", 1),
        ]
    ]
    assert etags[0] == etags[1]
    assert len(set(etags)) == 3
