"""The rows of an asset, from files and values: which types have rows, and what is said of those that have none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from bedrock_assets.config.source import SourceSpec
from bedrock_assets.errors import ConfigError, EmptyDataset
from bedrock_assets.sources import AssetRows, Files, Source, Value, open_source
from bedrock_assets.sources.base import BATCH_ROWS
from bedrock_assets.sources.files import SUFFIXES

FRAME = pl.DataFrame({"id": ["a", "b", "c"], "n": [1, 2, None]})


def spec(**keys: Any) -> SourceSpec:
    """The key `source:` of a YAML."""
    return SourceSpec.model_validate(keys)


def values(*loads: Callable[[], object]) -> AssetRows:
    """An asset with a value for each partition."""
    return AssetRows(
        "shop/reviews", tuple(Value(f"the value of its partition {i}", load) for i, load in enumerate(loads))
    )


def read(source: Source) -> pl.DataFrame:
    """All rows."""
    return pl.concat(source.batches())


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("reviews", ("reviews",)),
        ("shop/reviews", ("shop", "reviews")),
        (["shop", "re/views"], ("shop", "re/views")),
    ],
)
def test_keys(written: Any, key: tuple[str, ...]) -> None:
    """A key is text as in Dagster's own components, or its parts."""
    assert spec(asset=written).asset == key
    assert spec(asset="x", deps=[written, "x", written]).upstream == (("x",), key)


def test_what_is_upstream() -> None:
    """A source may have plain order, too, whatever it is."""
    assert spec(path="a.csv", deps=["export"]).upstream == (("export",),)
    assert spec(pipeline="calls", deps=["export"]).upstream == (("calls", "joined_table"), ("export",))
    assert spec(path="a.csv").upstream == ()


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({}, "name exactly one of path, files, sql, delta, iceberg, huggingface, chitchat, pipeline, asset"),
        ({"path": "a.csv", "pipeline": "b"}, "name exactly one of"),
        ({"asset": "a", "pipeline": "b"}, "asset and pipeline are two sources"),
        ({"asset": "a", "chitchat": {}}, "asset and chitchat are two sources"),
        ({"asset": "a", "path": "a.csv", "through": "uri"}, "the rows of the asset are at `path`"),
        ({"asset": "a", "path": "a.csv", "partitions": "materialized"}, "the rows of the asset are at `path`"),
        ({"path": "a.csv", "through": "value"}, "are for a source that is an asset"),
        ({"asset": "a", "through": "file"}, "'uri' or 'value'"),
        ({"asset": []}, "at least 1 item"),
        ({"asset": "a//b"}, "at least 1 character"),
        ({"asset": {"key": "a"}}, "should be a valid tuple"),
    ],
)
def test_keys_that_cannot_be(keys: dict[str, Any], told: str) -> None:
    """Each mistake of the YAML is told when it is loaded."""
    with pytest.raises(ValidationError, match=told):
        spec(**keys)


@pytest.mark.parametrize(
    "value",
    [FRAME, FRAME.lazy(), FRAME.to_arrow(), FRAME.to_pandas().convert_dtypes()],
    ids=lambda value: f"{type(value).__module__}.{type(value).__name__}",
)
def test_types(value: object) -> None:
    """All four have the same rows."""
    source = values(lambda: value)
    assert_frame_equal(read(source), FRAME)
    assert source.n_rows() == 3
    assert pl.concat(source.column("id")).to_list() == ["a", "b", "c"]


def test_an_index_of_pandas() -> None:
    """A named index is a column, as its owner sees it; a numbering is none."""
    frame = pd.DataFrame({"id": ["a", "b"], "text": ["x", "y"]})
    assert read(values(lambda: frame)).columns == ["id", "text"]
    assert read(values(lambda: frame.set_index("id"))).rows() == [("a", "x"), ("b", "y")]


@pytest.mark.parametrize(
    "frame",
    [pd.DataFrame({"id": ["a", 1, {"x": 2}]}), pd.DataFrame([[1, 2]], columns=["id", "id"])],
    ids=["mixed values", "a name twice"],
)
def test_what_polars_cannot_take(frame: pd.DataFrame) -> None:
    """Odd columns of pandas are told with the asset."""
    with pytest.raises(ConfigError, match=r"shop/reviews: the value of its partition 0 has columns that polars cannot"):
        read(values(lambda: frame))


@pytest.mark.parametrize("lazy", [False, True])
def test_many_rows(lazy: bool) -> None:
    """They come in order, in batches of bounded size."""
    frame = pl.DataFrame({"n": range(2 * BATCH_ROWS + 1)})
    batches = list(values(lambda: frame.lazy() if lazy else frame).batches())
    assert_frame_equal(pl.concat(batches), frame)
    assert max(map(len, batches)) <= BATCH_ROWS


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([1, 2], "is a builtins.list; return a polars DataFrame or LazyFrame"),
        (None, "is a builtins.NoneType"),
        (pl.Series([1]), "is a polars.series.series.Series"),
        ({"2026": FRAME}, "is a builtins.dict"),
    ],
)
def test_other_types(value: object, told: str) -> None:
    """A value without rows is refused with the asset, its type and the cure."""
    with pytest.raises(ConfigError) as raised:
        read(values(lambda: value))
    assert str(raised.value).startswith("source.asset shop/reviews: the value of its partition 0 ")
    assert told in str(raised.value)
    assert str(raised.value).endswith("Materialize shop/reviews, or correct `source`")


def test_a_value_that_cannot_be_loaded(tmp_path: Path) -> None:
    """What an IO manager or a lazy frame says is told in one line."""

    def load() -> object:
        raise KeyError("table 'reviews' is gone\nand more")

    with pytest.raises(ConfigError, match=r"IO manager cannot load the value of its partition 0: KeyError: .*gone"):
        read(values(load))
    FRAME.write_parquet(tmp_path / "a.parquet")
    lazy = pl.scan_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(ConfigError, match=r"the value of its partition 0 cannot be read: FileNotFoundError"):
        read(values(lambda: lazy))


def test_partitions() -> None:
    """One after the other, each loaded when its turn comes; an empty one is passed over, columns keep their order."""
    loaded: list[int] = []

    def load(number: int, frame: pl.DataFrame) -> Callable[[], object]:
        return lambda: (loaded.append(number), frame)[1]

    source = values(load(0, FRAME), load(1, FRAME.clear()), load(2, FRAME.reverse().select("n", "id")))
    batches = source.batches()
    next(batches)
    assert loaded == [0]
    assert_frame_equal(read(source), pl.concat([FRAME, FRAME.reverse()]))


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (FRAME.cast({"n": pl.String}), r"column 'n' of the value of its partition 1 is String, but Int64 in the value"),
        (FRAME.drop("n"), r"column 'n' of the value of its partition 1 is not there, but Int64 in"),
        (FRAME.with_columns(m=1), r"column 'm' of the value of its partition 1 is Int32, but not there in"),
    ],
)
def test_partitions_that_differ(other: pl.DataFrame, told: str) -> None:
    """A table has one schema; the first column that differs is named."""
    with pytest.raises(ConfigError, match=told):
        read(values(lambda: FRAME, lambda: other))


def test_no_rows(tmp_path: Path) -> None:
    """An empty asset is told by its name, from a file and as a value."""
    FRAME.clear().write_parquet(tmp_path / "a.parquet")
    for source in (values(FRAME.clear), open_source(spec(asset="shop/reviews", path=str(tmp_path / "a.parquet")))):
        with pytest.raises(EmptyDataset, match=r"source.asset: asset shop/reviews: .* has no rows"):
            list(source.batches())


def test_a_file_of_an_asset(tmp_path: Path) -> None:
    """With `path` the rows are the file's; a file that is missing or broken is told with the asset."""
    path = tmp_path / "a.csv"
    source = open_source(spec(asset="shop/reviews", path=str(path), dtypes={"n": "Int64"}))
    with pytest.raises(ConfigError, match=r"source.asset shop/reviews: .*matches no file.*\. Materialize shop/reviews"):
        read(source)
    FRAME.write_csv(path)
    source = open_source(spec(asset="shop/reviews", path=str(path), dtypes={"n": "Int64"}))
    assert_frame_equal(read(source), FRAME)
    assert source.describe() == f"asset shop/reviews: {path}"
    path.write_text("id,n\n1,2,3\n")
    with pytest.raises(ConfigError, match=r"source.asset shop/reviews: source .*line 2: 3 values, but 2 columns"):
        read(source)


def test_an_old_file_is_not_looked_at_beforehand(tmp_path: Path) -> None:
    """What the last run of the asset wrote does not keep the pipeline from loading: the next one may mend it."""
    FRAME.write_parquet(tmp_path / "a.parquet")
    assert open_source(spec(asset="reviews", path=str(tmp_path / "a.parquet"))).columns() is None


def test_without_dagster() -> None:
    """A command that does not ask an instance says who knows where the rows are."""
    with pytest.raises(ConfigError, match=r"source.asset reviews: only a run, or the event log of a Dagster instance"):
        read(open_source(spec(asset="reviews")))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_suffix_is_read(tmp_path: Path, suffix: str) -> None:
    """What counts as a known format is one that is read."""
    path = tmp_path / f"a{suffix}"
    write = {".parquet": FRAME.write_parquet, ".csv": FRAME.write_csv}.get(suffix, FRAME.write_ndjson)
    write(path)
    assert read(Files(str(path)))["id"].to_list() == ["a", "b", "c"]


def test_arrow_of_several_chunks() -> None:
    """Chunks of an Arrow table are no partitions of ours."""
    table = pa.concat_tables([FRAME.to_arrow(), FRAME.to_arrow()])
    assert_frame_equal(read(values(lambda: table)), pl.concat([FRAME, FRAME]))
