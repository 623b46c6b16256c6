import re
import unicodedata
from string import ascii_lowercase, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wishcraft.domain.mail_text import one_line

LINKS = re.compile(
    r"\S\.[\u0300-\u036f\ufe0f\u200c\u200d]*(?![0-9])\w*[a-z]|[^\s0-9]\.[0-9]|[0-9]\.[0-9]+\.[0-9]"
    r"|//|\\\\|\S@|@\S|[a-z]:[\w/+]",
    re.IGNORECASE,
)
"""Texts that mail programs make a link of: domains, IP addresses, hosts, addresses and schemes.

No top-level domain begins with a digit: `2.5kg` is none.
"""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Emma & Hugo's Wedding", "Emma & Hugo's Wedding"),
        ("  two\r\nlines\u2028and\tmore ", "two lines and more"),
        ("https://evil.example/login", "https: evil. example/login"),
        ("www.evil.example", "www. evil. example"),
        ("evil.example:8080/a?b=c", "evil. example: 8080/a?b=c"),
        ("//evil/x and \\\\evil\\share", "evil/x and evil\\share"),
        ("mailto:a@evil.example", "mailto: a @ evil. example"),
        ("tel:+4930123456", "tel: +4930123456"),
        ("10.0.0.1/x", "10. 0. 0. 1/x"),
        ("evil。example", "evil。 example"),
        ("ev\u00adil\u200b.\u202eexample", "evil. example"),
        ("evil.\u200dexample evil.\u034fexample", "evil. \u200dexample evil. example"),
        ("evil.\u2065example e\ufff0vil.\U000e01f0example", "evil. example evil. example"),
        ("evil.\u0338example evil.\ufe0fexample", "evil. \u0338example evil. \ufe0fexample"),
        ("2.\u200cexample", "2. \u200cexample"),
        ("\N{PILE OF POO}.la", "\N{PILE OF POO}. la"),
        ("2.example", "2. example"),
        ("Glass, 2.5 l", "Glass, 2.5 l"),
        ("Flour, 2.5kg", "Flour, 2.5kg"),
        ("2.5kg.example", "2.5kg. example"),
        ("Mr.Smith at 10:30", "Mr. Smith at 10:30"),
        ("Wait... what?!", "Wait... what?!"),
        ("\N{MAN}\u200d\N{PERSONAL COMPUTER}", "\N{MAN}\u200d\N{PERSONAL COMPUTER}"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),  # Persian
    ],
)
def test_texts_become_one_line_that_no_mail_program_links(text: str, line: str) -> None:
    assert one_line(text) == line


@given(
    st.text(st.characters(exclude_categories=["Cs"]))
    | st.text(st.sampled_from(f"{ascii_lowercase}{digits}.:/@\\ \u200b\u3002"), max_size=30)
)
def test_any_text_has_no_link_no_break_and_nothing_invisible(text: str) -> None:
    line = one_line(text)
    assert not LINKS.search(line)
    assert len(line.splitlines()) <= 1
    assert not [c for c in line if unicodedata.category(c) in {"Cc", "Cf", "Cs"} and c not in "\u200c\u200d"]
    assert one_line(line) == line


@pytest.mark.parametrize("piece", ["0", "0.0", "a.", "/", "@", "a:", ".", "\N{PILE OF POO}.", "\u0338", " "])
def test_a_repetitive_text_becomes_one_line_in_linear_time(piece: str) -> None:
    assert len(one_line(f"Hi {piece * 20_000}")) <= 2 * 20_000 * len(piece) + 3
