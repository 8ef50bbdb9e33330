"""Text in cells of fixed width."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diag.log.text import cells, texts_of

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(st.lists(TEXT, max_size=5))
def test_without_a_width_every_text_comes_back(texts):
    assert texts_of(cells(texts)) == tuple(texts)


@given(TEXT, st.integers(3, 40))
def test_with_a_width_a_text_comes_back_or_is_cut_where_a_character_ends(text, width):
    (stored,) = texts_of(cells([text], width))
    assert stored == text or (stored.endswith("…") and text.startswith(stored[:-1]))
    assert len(stored.encode()) <= width


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        pytest.param("abcdef", "abcdef", id="fits"),
        pytest.param("abcdefg", "abc…", id="too-long"),
        pytest.param("abéé", "abéé", id="six-bytes-of-four-characters"),
        pytest.param("ééééé", "é…", id="a-cut-inside-a-character"),
        pytest.param("a\ud800", "a?", id="what-UTF-8-cannot-carry"),
    ],
)
def test_a_cell_of_six_bytes_holds(text, stored):
    assert texts_of(cells([text], 6)) == (stored,)
