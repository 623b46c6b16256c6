import pytest
from hypothesis import given
from hypothesis import strategies as st

from wishcraft.cache import entries
from wishcraft.domain.cached_registry import AccessLevel, CachedRegistry
from wishcraft.domain.etags import make_etag

U64 = st.integers(0, 2**64 - 1)
REGISTRIES = st.builds(CachedRegistry, U64, st.sampled_from(AccessLevel), U64, st.binary(min_size=1, max_size=200))
ERA = b"12345678"
ENTRY = entries.make_entry(CachedRegistry(1, AccessLevel.OPEN, 0, b"{}"), ERA, 1)


@given(REGISTRIES | st.none(), st.binary(min_size=8, max_size=8), st.integers(0, 2**62))
def test_entry_survives_packing_and_unpacking(registry: CachedRegistry | None, era: bytes, now_ms: int) -> None:
    entry = entries.make_entry(registry, era, now_ms)
    assert entries.unpack(entries.pack(entry)) == entry


@given(REGISTRIES)
def test_header_is_read_from_the_first_bytes_alone(registry: CachedRegistry) -> None:
    entry = entries.make_entry(registry, ERA, 1)
    assert entries.unpack_header(entries.pack(entry)[: entries.HEADER_SIZE]) == entry.header


@given(st.binary(max_size=100).filter(lambda raw: raw[:1] != entries.pack(ENTRY)[:1]))
def test_unknown_format_is_a_miss(raw: bytes) -> None:
    assert entries.unpack(raw) is None


@pytest.mark.parametrize("size", [0, 1, entries.HEADER_SIZE - 1, entries.HEADER_SIZE])
def test_entry_cut_before_its_body_is_a_miss(size: int) -> None:
    assert entries.unpack(entries.pack(ENTRY)[:size]) is None


def test_etag_depends_on_version_and_body_only() -> None:
    etags = [
        make_etag(header.version, header.digest)
        for version, access_level, body, when in [
            (1, AccessLevel.OPEN, b"a", 1),
            (1, AccessLevel.OWNER, b"a", 2),
            (1, AccessLevel.OPEN, b"b", 1),
            (2, AccessLevel.OPEN, b"a", 1),
        ]
        for header in [entries.make_entry(CachedRegistry(version, access_level, 0, body), ERA, when).header]
    ]
    assert etags[0] == etags[1]
    assert len(set(etags)) == 3
