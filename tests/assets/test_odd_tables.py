"""Tables as people have them, through all assets on a real instance: every row, every value, and what is shown."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from polars.testing.parametric import dtypes, series

from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.pipeline.ids import holds_binary
from bedrock_assets.pipeline.templates import placeholder
from tests.labs.dispatch import Lab, open_lab, pipeline_of
from tests.labs.values import every_dtype

ASSETS = ("raw_dataset", "prompt_shards", "batch_outputs", "joined_table")
NAMES = [
    *("*", "^.*$", "^a", "", " ", "a.b", "a/b (c)+d", "{x}", "`", "a`b", "|", "<b>", "é", "\x00", "日本"),
    *("__line", "__key", "__error_code", "__error_message", "__at", "line", "key", "text", "system", "fields", "sent"),
    *("wire_id", "code", "message", "copy_of", "elsewhere", "hash", "block", "literal", "len", "index", "base64_0"),
]
names = st.one_of(st.sampled_from(NAMES), st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
WITHOUT_VALUES = [pl.Object, pl.Unknown, pl.Extension]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One lab for all tables of this module, each a new version of the same dataset."""
    with open_lab(tmp_path_factory.mktemp("lab"), n_rows=2) as opened:
        yield opened


def table_of(lab: Lab, frame: pl.DataFrame, **spec: Any) -> pl.DataFrame:
    """Send a table through all assets, and read the result; no asset's metadata may say that it failed."""
    path = Path(lab.pipeline.folder) / "odd.parquet"
    frame.write_parquet(path)
    lab.pipeline = pipeline_of(lab.pipeline.folder, **{"source": {"path": str(path)}, **spec})
    lab.ask_in_runs()
    assert set(lab.finish().values()) <= {RequestState.ANSWERED}
    assert lab.materialize("joined_table")
    for asset in ASSETS:
        event = lab.instance.get_latest_materialization_event(dg.AssetKey(["calls", asset]))
        assert event
        assert event.asset_materialization
        assert "metadata_error" not in event.asset_materialization.metadata
    keys = [file.key for file in lab.store.files("calls/table") if file.key.endswith(".parquet")]
    return lab.store.read_parquet(keys)


@st.composite
def frames(draw: st.DrawFn) -> pl.DataFrame:
    """Two rows with columns of any names and types."""
    columns = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    kinds = [draw(dtypes(excluded_dtypes=WITHOUT_VALUES, nesting_level=2)) for _ in columns]
    drawn = [draw(series(name=n, dtype=t, min_size=2, max_size=2)) for n, t in zip(columns, kinds, strict=True)]
    return pl.DataFrame(drawn)


def check(lab: Lab, frame: pl.DataFrame) -> None:
    """Every value comes through, and every column that is text can be in the prompt."""
    shown = [name for name, dtype in frame.schema.items() if not holds_binary(dtype)]
    prompt = "Say " + " ".join(map(placeholder, shown))
    task = {"text": {"prompt": prompt, "null_default": "-", "max_tokens": 64}}
    table = table_of(lab, frame, task=task, output_prefix="answer_")
    assert_frame_equal(table[frame.columns], frame)
    assert table["answer_status"].to_list() == ["ok"] * len(frame)


SETTINGS = {"suppress_health_check": list(HealthCheck)}


@settings(max_examples=3, **SETTINGS)
@given(frame=frames())
def test_any_names_and_types(lab: Lab, frame: pl.DataFrame) -> None:
    """Whatever columns are called and hold, rows in are rows out."""
    check(lab, frame)


@pytest.mark.slow
@settings(max_examples=60, **SETTINGS)
@given(frame=frames())
def test_many_names_and_types(lab: Lab, frame: pl.DataFrame) -> None:
    """As `test_any_names_and_types`, with more of them."""
    check(lab, frame)


CASES: dict[str, tuple[pl.DataFrame, dict[str, Any]]] = {
    "lists of text": (pl.DataFrame({"text": ["a", "b"], "tags": [["a", "b"], None]}), {}),
    "groups": (
        pl.DataFrame({"who": ["a", "a", "b"], "text": ["x", "y", "z"]}),
        {"task": {"text": {"prompt": "{rows}"}}, "source": {"group_by": {"columns": "who", "each": "{text}"}}},
    ),
    "groups by odd names": (
        pl.DataFrame({"*": ["a", "a", "b"], "text": ["x", "y", "z"], "^.*$": [2, 1, 3]}),
        {
            "task": {"text": {"prompt": "{rows}"}},
            "source": {"group_by": {"columns": "*", "each": "{text}", "order_by": "^.*$"}, "id_column": "*"},
        },
    ),
    "a list column of an odd name": (
        pl.DataFrame({"text": ["a", "b"], "*": [["x", "y"], []]}),
        {"task": {"text": {"prompt": "{text}"}}, "source": {"expand": {"column": "*"}}},
    ),
    "days outside the calendar": (
        pl.DataFrame(
            {
                "text": ["a", "b"],
                "day": pl.Series([10**8, -(10**8)], dtype=pl.Int32).cast(pl.Date),
                "days": pl.Series([[10**8], [1]], dtype=pl.List(pl.Int32)).cast(pl.List(pl.Date)),
                "moment": pl.Series([2**63 - 1, -(2**63)]).cast(pl.Datetime("us")),
                "wait": pl.Series([2**63 - 1, -(2**63)]).cast(pl.Duration("ms")),
                "at": pl.Series([{"day": 10**8}, None], dtype=pl.Struct({"day": pl.Int32})).cast(
                    pl.Struct({"day": pl.Date})
                ),
            }
        ),
        {"task": {"text": {"prompt": "{text} {day} {days} {moment} {wait} {at}", "null_default": "-"}}},
    ),
    "every dtype": (every_dtype(), {"task": {"text": {"prompt": "{text}"}}}),
    "answers that are lists": (
        pl.DataFrame({"text": ["a", "b"]}),
        {"schema": {"topics": {"list": "string"}, "*": "integer", "^.*$": {"type": "string", "optional": True}}},
    ),
    "several labels": (
        pl.DataFrame({"text": ["a", "b"]}),
        {"task": {"classify": {"text": "{text}", "labels": ["x", "y"], "several": True}}},
    ),
    "columns in the way of ours": (
        pl.DataFrame({"text": ["a", "b"], "status": ["x", "y"], "record_id": [1, 2]}),
        {"output_prefix": "__"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_tables_that_people_have(lab: Lab, case: str) -> None:
    """Each table that once stopped a pipeline goes through all assets, with an answer in every row."""
    frame, spec = CASES[case]
    path = {"path": str(Path(lab.pipeline.folder) / "odd.parquet")}
    task = {"text": {"prompt": "{text}", "max_tokens": 64}}
    table = table_of(lab, frame, **{"task": task, **spec, "source": {**path, **spec.get("source", {})}})
    assert set(table[spec.get("output_prefix", "") + "status"]) == {"ok"}
    if "source" not in spec:
        assert_frame_equal(table[frame.columns], frame)


def test_the_sample_shows_what_python_cannot(lab: Lab) -> None:
    """Days outside of Python's calendar, lists of text and bytes are shown as text, and vectors are short."""
    frame = pl.DataFrame(
        {
            "text": ["a|b", "c"],
            "day": pl.Series([10**8, None], dtype=pl.Int32).cast(pl.Date),
            "tags": [["x", "y"], []],
            "vector": [[0.123456, 1.0, 2.0, 3.0], None],
            "raw": [b"\xff" * 10_000, None],
        }
    )
    table_of(lab, frame, task={"text": {"prompt": "{text}", "max_tokens": 64}})
    event = lab.instance.get_latest_materialization_event(dg.AssetKey(["calls", "raw_dataset"]))
    assert event
    assert event.asset_materialization
    sample = str(event.asset_materialization.metadata["sample"].value)
    for shown in ("a\\|b", "100000000 days since 1970-01-01", '["x","y"]', "[0.123, 1, 2, ... 4]", "b'\\xff"):
        assert f"**: {shown}" in sample
    assert len(sample) < 1_000


def halve(lab: Lab, pattern: str) -> None:
    """Leave half of each of the store's files whose key matches."""
    paths = list(Path(lab.store.root).glob(pattern))
    assert paths
    for path in paths:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_broken_files_are_written_anew_by_their_assets(lab: Lab) -> None:
    """Materializing the asset of a file that a disk has cut repairs it, and nothing is paid again."""
    frame = pl.DataFrame({"text": [f"row {i}" for i in range(10)]})
    one_job = {"max_records_per_job": 10, "min_records_per_job": 2, "max_jobs": 1}
    before = table_of(lab, frame, task={"text": {"prompt": "{text}", "max_tokens": 64}}, limits=one_job)
    (shard,), n_paid = lab.shards, len(lab.jobs()) + lab.n_invoked
    repairs: dict[str, tuple[str, str | None]] = {
        "calls/raw/*/*.parquet": ("raw_dataset", None),
        "calls/raw/manifest.json": ("raw_dataset", None),
        f"calls/prompts/{shard}/*.rows.parquet": ("prompt_shards", shard),
        f"calls/prompts/{shard}/*.jsonl": ("prompt_shards", shard),
        f"calls/outputs/{shard}.parquet": ("batch_outputs", shard),
        "calls/table/part-*.parquet": ("joined_table", None),
        "calls/table/manifest.json": ("joined_table", None),
    }
    for pattern, (asset, partition) in repairs.items():
        halve(lab, pattern)
        if asset != "joined_table":
            Path(lab.store.path("calls/table/part-00000.parquet")).unlink()
            assert not lab.materialize("joined_table") or "prompts" in pattern
        assert lab.materialize(asset, partition), pattern
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert lab.materialize("joined_table"), pattern
        keys = [file.key for file in lab.store.files("calls/table") if file.key.endswith(".parquet")]
        assert_frame_equal(lab.store.read_parquet(keys), before)
    assert len(lab.jobs()) + lab.n_invoked == n_paid
