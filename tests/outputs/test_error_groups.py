"""Errors that differ only in what varies are one group."""

import polars as pl
import pytest

from bedrock_assets.outputs.error_groups import error_pattern, group_errors


def patterns(*messages: str | None) -> list[str]:
    """The pattern of each message."""
    return (
        pl.DataFrame({"m": pl.Series(messages, dtype=pl.String)})
        .select(error_pattern(pl.col("m")))
        .to_series()
        .to_list()
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("prompt is too long: 210005 tokens > 200000 maximum", "prompt is too long: 1,210,005 tokens > 200000 maximum"),
        ("Request req_011CSHoEeqs5C35K2UUqR7Fy failed", "Request req_99aa failed"),
        ("id 3f2504e0-4f89-11d3-9a0c-0305e82c3301 is bad", "id aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee is bad"),
        ("score: got 7.5", "score: got -12"),
        ('topic: got "billing"', 'topic: got "say \\"hi\\", now"'),
        ("column 'a' isn't there, don't ask", "column 'b' isn't there, don't ask"),
        ('{"kind": "surprise", "value": 7}', '{"kind": "other", "value": 12.5}'),
    ],
)
def test_alike(one: str, other: str) -> None:
    """Numbers, ids and quotations do not tell errors apart."""
    assert len(set(patterns(one, other))) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("score: Field required", "topic: Field required"),
        ("it isn't a table, don't ask", "it isn't a chair, don't ask"),
        ('{"kind": 1}', '{"sort": 1}'),
        ("bad", None),
    ],
)
def test_different(one: str, other: str | None) -> None:
    """Words, and the keys of output that is not understood, do."""
    assert len(set(patterns(one, other))) == 2


def test_groups() -> None:
    """The most frequent group is first, with its first row as the example; codes tell groups apart."""
    rows = pl.DataFrame(
        {
            "record_id": ["a", "b", "c", "d"],
            "error_code": ["x", "400", "400", "x"],
            "error_message": ["took 5 s", "took 1 s", "took 27 s", None],
            "shard": ["s0", "s0", "s1", "s1"],
        }
    )
    first, *others = group_errors(rows).iter_rows(named=True)
    assert first == {
        "error_code": "400",
        "pattern": "took # s",
        "n_rows": 2,
        "example": "b",
        "error_message": "took 1 s",
        "shards": ["s0", "s1"],
    }
    assert [other["n_rows"] for other in others] == [1, 1]
