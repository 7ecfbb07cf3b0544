"""Foreign text becomes one harmless line, and harmless text does not change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.plain_text import one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain × θ – “text” 日本語 👩‍🔬", "plain × θ – “text” 日本語 👩‍🔬"),
        (" a\r\n\tb\v\fc\u2028d\x85e  f ", "a b c d e f"),
        ("\x1b[31m\x07\x00\x7f\x9b", "\\x1b[31m\\x07\\x00\\x7f\\x9b"),
        ("\u202eabc\u2066", "\\u202eabc\\u2066"),
        ("\ud800", "\\ud800"),
        ("", ""),
    ],
)
def test_examples(text: str, shown: str) -> None:
    assert one_line(text) == shown


@given(st.text(st.characters() | st.characters(categories=["Cc", "Cs", "Cf"])))
def test_any_text_is_one_line_that_can_be_written(text: str) -> None:
    shown = one_line(text)
    assert len(shown.splitlines()) <= 1
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in shown)
    assert shown.encode().decode() == shown
    assert one_line(shown) == shown
