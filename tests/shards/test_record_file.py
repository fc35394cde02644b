"""The bytes of a file of records."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from bedrock_assets.shards import record_file

TEXTS = st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=20), max_size=9)


@given(texts=TEXTS, cut=st.integers(0, 9))
def test_each_line_ends_with_a_newline(texts: list[str], cut: int) -> None:
    """Any lines, also part of a larger series, whichever way is taken for their size."""
    lines = pl.Series(texts, dtype=pl.String)[cut:]
    expected = "".join(f"{text}\n" for text in texts[cut:]).encode()
    assert bytes(record_file.encoded(lines)) == expected
    assert bytes(record_file._encoded_by_arrow(lines)) == expected
