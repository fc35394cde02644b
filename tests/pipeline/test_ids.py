"""Record ids: derived or the user's own, and what of them goes over the wire."""

import hashlib
import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_assets.errors import InvalidRecordIds
from bedrock_assets.pipeline.ids import (
    COMPARED_AT_ONCE,
    PADDING_ID,
    content_hash,
    derived_id,
    require_ids,
    require_unique,
    wire_id,
)

ROWS = pl.DataFrame({"q": ["What?", "Why?", "What?", None], "n": [1, 2, 1, None]})


def derived(frame: pl.DataFrame, position: int = 0) -> list[str]:
    """Derived ids of a frame's rows."""
    return frame.select(derived_id(position, content_hash(frame.schema))).to_series().to_list()


def wired(ids: list[str]) -> list[str]:
    """What goes over the wire for these ids."""
    return pl.Series("id", ids, dtype=pl.String).to_frame().select(wire_id(pl.col("id"))).to_series().to_list()


def test_derived_ids_are_fixed() -> None:
    """Ids of known rows are these, in this release and in later ones."""
    assert derived(ROWS) == ["0000000007a3a471", "0000000010a6d1b4", "0000000027a3a471", "0000000035011ac5"]


def test_derived_ids_tell_position_and_content() -> None:
    """An id is 9 digits of the position and 7 hex digits that are equal for equal rows only."""
    ids = derived(ROWS)
    assert all(re.fullmatch(rf"{i:09d}[0-9a-f]{{7}}", record_id) for i, record_id in enumerate(ids))
    assert ids[0][9:] == ids[2][9:]
    assert len({record_id[9:] for record_id in ids}) == 3


@given(cut=st.integers(0, 4))
def test_derived_ids_do_not_depend_on_batches(cut: int) -> None:
    """Rows read in two batches have the ids they have in one."""
    assert derived(ROWS.head(cut)) + derived(ROWS.slice(cut), cut) == derived(ROWS)


def test_content_counts_in_every_column() -> None:
    """A change in any column, of a null to an empty text as well, changes the id."""
    changed = [
        ROWS.with_columns(n=pl.Series([1, 2, 1, 0])),
        ROWS.with_columns(q=pl.Series(["What?", "Why?", "What?", ""])),
        ROWS.rename({"n": "m"}),
    ]
    assert len({derived(frame)[3] for frame in [ROWS, *changed]}) == 4


def test_binary_content_is_hashed_at_any_depth() -> None:
    """Binary values, as image and audio columns nest them, count by their content and are no obstacle."""
    image = pl.Struct({"bytes": pl.Binary, "path": pl.String})
    frame = pl.DataFrame(
        {
            "image": [{"bytes": b"\xff\xd8", "path": "a"}, {"bytes": b"\xff\xd9", "path": "a"}, None],
            "tag": [[[b"\xff"]]] * 3,
        },
        schema={"image": image, "tag": pl.List(pl.Array(pl.Binary, 1))},
    )
    ids = derived(frame)
    assert len({record_id[9:] for record_id in ids}) == 3
    assert derived(frame) == ids


@given(st.lists(st.text(), unique=True, min_size=1))
def test_wire_ids_are_plain_and_unique(ids: list[str]) -> None:
    """Any ids become different alphanumeric ones of at most 32 characters, never one of the padding's."""
    sent = wired(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_]{1,32}", record_id) for record_id in sent)
    assert len(set(sent)) == len(ids)
    assert not any(re.fullmatch(PADDING_ID, record_id) for record_id in sent)


@given(st.from_regex(r"[A-Za-z0-9_]{1,32}", fullmatch=True))
def test_plain_ids_are_sent_as_they_are(record_id: str) -> None:
    """A short alphanumeric id is found again in the job's output."""
    assert wired([record_id]) == [record_id]


@pytest.mark.parametrize("record_id", ["", "a b", "é", "a" * 33, "x\n", "padding" + "0" * 26])
def test_other_ids_are_hashed(record_id: str) -> None:
    """What is empty, long or not alphanumeric is sent as `h` and the head of its SHA-256."""
    assert wired([record_id]) == ["h" + hashlib.sha256(record_id.encode()).hexdigest()[:31]]


def test_ids_need_their_column() -> None:
    """A column that is not there is named, with those that are."""
    with pytest.raises(InvalidRecordIds, match=r"'call_id' is not in the dataset; it has: q, n"):
        require_ids(ROWS, "call_id", 0)


def test_null_ids_are_refused() -> None:
    """The first row without an id is counted from the start of the dataset, not of the batch."""
    with pytest.raises(InvalidRecordIds, match=r"'q' has nulls, the first in row 1003"):
        require_ids(ROWS, "q", 1_000)


@pytest.mark.parametrize("n_rows", [4, COMPARED_AT_ONCE + 1, 5 * COMPARED_AT_ONCE])
def test_repeated_ids_are_refused(n_rows: int) -> None:
    """Ids that repeat within a piece or across pieces are shown with their counts, in one pass or in several."""
    pieces = [pl.Series(["a", "b"]), pl.Series(["c", "b"])]
    with pytest.raises(InvalidRecordIds, match=r"not unique: 'b' \(2 times\); name a unique column"):
        require_unique(pieces, n_rows, "call_id")


def test_examples_of_repeated_ids_are_few() -> None:
    """Of many repeated ids five are shown."""
    with pytest.raises(InvalidRecordIds, match=r"'00'.*'04' \(2 times\); name"):
        require_unique([pl.Series([f"{i % 20:02d}" for i in range(40)])], 40, "call_id")


@given(st.lists(st.lists(st.text(max_size=2)), max_size=4), st.integers(0, 3))
def test_uniqueness_is_exact(ids: list[list[str]], more_passes: int) -> None:
    """However many pieces and passes, ids are refused if and only if one repeats."""
    flat = [record_id for piece in ids for record_id in piece]
    pieces = [pl.Series(piece, dtype=pl.String) for piece in ids]
    repeated = len(set(flat)) < len(flat)
    try:
        require_unique(pieces, len(flat) + more_passes * COMPARED_AT_ONCE if flat else 0, "call_id")
    except InvalidRecordIds:
        assert repeated
    else:
        assert not repeated
