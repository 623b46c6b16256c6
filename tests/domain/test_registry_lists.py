from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from wishcraft.domain.registry_lists import MAX_CURSOR_LENGTH, ListSort, Position, decode_cursor, encode_cursor

IDS = st.integers(1, 2**63 - 1)
LETTERS = st.text(st.sampled_from("aZ é'\"\\/\n🎁\ufdfa\U0010ffff"), max_size=60)
POSITIONS = st.one_of(
    st.tuples(st.just(ListSort.NEWEST), st.builds(Position, st.none(), IDS)),
    st.tuples(
        st.just(ListSort.EVENT_DATE),
        st.builds(Position, st.sampled_from([None, *(date(year, 2, 28).isoformat() for year in (1900, 2999))]), IDS),
    ),
    st.tuples(st.just(ListSort.NAME), st.builds(Position, LETTERS, IDS)),
)


@given(POSITIONS)
def test_cursor_returns_its_position_to_its_own_list_only(position: tuple[ListSort, Position]) -> None:
    sort, at = position
    cursor = encode_cursor(sort, ("x", None), at)
    assert len(cursor) <= MAX_CURSOR_LENGTH
    assert decode_cursor(sort, ("x", None), cursor) == at
    assert decode_cursor(sort, ("x", "None"), cursor) is None
    assert all(decode_cursor(other, ("x", None), cursor) is None for other in ListSort if other is not sort)


@given(st.text(st.sampled_from("AZaz09-_=WyI\u00e9"), max_size=40))
def test_text_that_is_no_cursor_has_no_position(text: str) -> None:
    assert decode_cursor(ListSort.NEWEST, (), text) is None
