"""What is shown of rows: any value as text, and never a failure of the work."""

import polars as pl
import pytest
from hypothesis import given
from polars.exceptions import PanicException
from polars.testing.parametric import dataframes

from bedrock_assets.assets.sample import (
    INLINE_CHARS,
    SAMPLE_CHARS,
    columns_for_people,
    never_fails,
    quoted,
    records_of,
    sample_of,
)
from tests.labs.values import every_dtype


def test_every_dtype_is_shown() -> None:
    """A row of every kind of value, a cell each, without a line break."""
    lines = (sample_of(every_dtype()).md_str or "").split("\n")
    assert len(lines) == 2 + len(every_dtype())
    assert all(line.count(" | ") == every_dtype().width - 1 for line in lines[2:])
    assert '["a",null]' in lines[2]
    assert "23:59:59" in lines[2]
    assert "NaN" in lines[3]


@given(frame=dataframes(max_cols=4, max_size=4, excluded_dtypes=[pl.Object]))
def test_any_frame_is_shown(frame: pl.DataFrame) -> None:
    """Whatever types and values a frame has, it is shown in as many lines as it has rows."""
    assert len((sample_of(frame).md_str or "").splitlines()) == 2 + len(frame)


def test_names_and_values_are_text() -> None:
    """What would be a cell, a line or a tag of its own is escaped, and a long value is cut."""
    frame = pl.DataFrame({"a|b\n<i>": ["x|y\r\nz <b>", "w" * 1_000]})
    lines = (sample_of(frame).md_str or "").split("\n")
    assert lines[0] == "| a\\|b &lt;i> |"
    assert lines[2] == "| x\\|y  z &lt;b> |"
    assert len(lines[3]) < SAMPLE_CHARS + 20


@pytest.mark.parametrize("error", [ValueError("odd\nvalue"), PanicException("odd"), KeyError(), RecursionError("odd")])
def test_metadata_never_fails(error: BaseException) -> None:
    """Whatever is raised while metadata are made, a panic of polars too, is the metadata."""

    @never_fails
    def make() -> dict[str, object]:
        raise error

    assert make()["metadata_error"] in (
        f"{type(error).__name__}: odd",
        f"{type(error).__name__}: {type(error).__name__}",
    )


def test_a_person_can_still_stop_it() -> None:
    """Ctrl-C is no error of the metadata."""

    @never_fails
    def make() -> dict[str, object]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make()


def test_texts_are_quoted() -> None:
    """Lines stay lines and tags are text, JSON is a list of its keys, and all of it fits on the page."""
    assert quoted("Say\n<b> it").md_str == "> Say  \n> &lt;b> it  "
    assert quoted('{"mood": "good", "tags": ["a", "b"]}').md_str == '- **mood**: good\n- **tags**: ["a", "b"]'
    for text in ("word " * 10_000, "<" * 10_000, "\n" * 10_000, '{"a": "' + "x" * 5_000 + '"}', ""):
        assert 0 < len(quoted(text).md_str or "") <= INLINE_CHARS, text[:5]


@given(frame=dataframes(min_cols=1, max_cols=4, min_size=1, max_size=3, excluded_dtypes=[pl.Object]))
def test_any_frame_is_shown_as_lists(frame: pl.DataFrame) -> None:
    """Each row is a list with a line for each column; rows may be left out, but not the first."""
    lines = [line for line in (records_of(frame).md_str or "").splitlines() if line.startswith("- **")]
    assert len(lines) in {frame.width * n for n in range(1, len(frame) + 1)}


def test_columns_for_people() -> None:
    """Those of the prompt first, then those of the answer, then the others, as many as there is room for."""
    columns = ["id", "text", "tokens", "status", "answer", *(f"c{i}" for i in range(20))]
    shown = columns_for_people(columns, ["text"], ["status", "answer", "absent"], ["tokens"], most=5)
    assert shown == ["text", "status", "answer", "id", "c0"]
