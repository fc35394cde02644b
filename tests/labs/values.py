"""Rows with every kind of value that Parquet holds."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import polars as pl


def every_dtype() -> pl.DataFrame:
    """Four rows, among them nulls, non-ASCII and line breaks; `text` is for prompts and has no null."""
    moment = datetime(2026, 11, 1, 12, 30, 0, 123_456)
    return pl.DataFrame(
        {
            "text": ["plain", 'a "quote"\n\\', "U+0085 \u0085 U+2028 \u2028", "漢字 🙂"],
            "zip": ["00123", "", None, "nan"],
            "flag": [True, False, None, True],
            "small": pl.Series([1, -1, None, 127], dtype=pl.Int8),
            "large": pl.Series([2**64 - 1, 0, None, 1], dtype=pl.UInt64),
            "real": [0.1, float("nan"), None, float("inf")],
            "single": pl.Series([0.1, 1e-30, None, -0.0], dtype=pl.Float32),
            "price": pl.Series([Decimal("1.10"), Decimal("-2.00"), None, Decimal("0.01")]),
            "day": [date(2026, 11, 1), date(1, 1, 1), None, date(9999, 12, 31)],
            "moment": pl.Series([moment, moment, None, moment], dtype=pl.Datetime("us")),
            "zoned": pl.Series([moment.replace(tzinfo=UTC)] * 4, dtype=pl.Datetime("ms", "UTC")),
            "wait": [timedelta(hours=1), timedelta(microseconds=-1), None, timedelta(0)],
            "clock": [time(23, 59, 59), time(0), None, time(1, 2, 3, 4)],
            "kind": pl.Series(["a", "b", None, "a"], dtype=pl.Categorical),
            "level": pl.Series(["low", "high", None, "low"], dtype=pl.Enum(["low", "high"])),
            "raw": [b"\xff\x00", b"", None, b"x"],
            "tags": [["a", None], [], None, ["é"]],
            "pair": pl.Series([[1, 2], [3, 4], None, [5, 6]], dtype=pl.Array(pl.Int16, 2)),
            "nested": [{"a": 1, "b": [{"c": "x"}]}, {"a": None, "b": []}, None, {"a": 2, "b": None}],
            "image": pl.Series([{"bytes": b"\xff\xd8"}] * 4, dtype=pl.Struct({"bytes": pl.Binary})),
            "none": pl.Series([None] * 4, dtype=pl.Null),
        }
    )
