"""Golden: one table, written to every sink, reads back equal; then only what has changed is sent; then nothing."""

import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import psycopg2
import pyarrow as pa
import pytest

from bedrock_assets.errors import BedrockAssetsError, DataError, StoreConflict, StoreError
from bedrock_assets.pipeline.workload import CIRCUMSTANCES
from bedrock_assets.sinks import Sent, changes, iceberg, lance, rows, sinks_of
from bedrock_assets.sinks.rows import MARK, plain_dtype
from bedrock_assets.storage.manifests import TableManifest
from bedrock_assets.storage.publication import read_latest
from bedrock_assets.storage.store import Store
from bedrock_assets.table.join import join_table
from tests.labs.stages import MakePipeline, Stages, texts
from tests.sinks.places import Place, duckdb_place, iceberg_place, lance_place, plain, sqlite_place

LIMITS_OF_MEMORY = (
    (rows, "ROW_GROUP_ROWS"),
    (changes, "COMPARED_AT_ONCE"),
    (changes, "IDS_AT_ONCE"),
    (iceberg, "MAX_IDS"),
    (lance, "DELETED_AT_ONCE"),
)
LIMITS = {"min_records_per_job": 1, "max_records_per_job": 4, "max_jobs": 1}


def odd_rows(n_rows: int) -> pl.DataFrame:
    """Rows with every type that a sink has to take, and names and texts that have to be quoted."""
    some = list(range(n_rows))
    moment = datetime(2026, 11, 1, 12, 30, 15, 250_000)
    return pl.DataFrame(
        {
            "id": [f'it\'s {i} "é"' for i in some],
            "text": [f"call {i}, 'quoted' \\ \n" for i in some],
            "select": pl.Series([i % 256 for i in some], dtype=pl.UInt8),
            'a "b"': pl.Series([-i for i in some], dtype=pl.Int16),
            "price": pl.Series([Decimal(i) / 4 for i in some], dtype=pl.Decimal(9, 2)),
            "share": [None if i % 3 else i / 4 for i in some],
            "yes": [bool(i % 2) for i in some],
            "day": [date(2026, 11, 1) + timedelta(i) for i in some],
            "at": [moment + timedelta(hours=i) for i in some],
            "took": pl.Series([timedelta(milliseconds=1500 * i) for i in some], dtype=pl.Duration("ms")),
            "seen": pl.Series([moment.replace(tzinfo=UTC)] * n_rows),
            "raw": [bytes([i % 256, 0, 255]) for i in some],
            "kind": pl.Series(["good" if i % 2 else "bad" for i in some], dtype=pl.Enum(["good", "bad"])),
            "nothing": [None] * n_rows,
            "names": [["x, y", None, f'"{i}"'] if i % 2 else [] for i in some],
            "who": [{"name": f"n{i}", "tags": ["a"], "age": None if i % 2 else i} for i in some],
            "turns": [[{"who": "a", "n": i}] if i % 2 else None for i in some],
            "vector": pl.Series([[i / 2, 1.0] for i in some], dtype=pl.Array(pl.Float32, 2)),
        }
    )


def publish(stages: Stages, table: TableManifest) -> Sent:
    """Write a table to the only sink."""
    (sink,) = sinks_of(stages.pipeline.spec)
    return sink.publish(stages.store, stages.pipeline, table)


def built(make_pipeline: MakePipeline, store: Store, frame: pl.DataFrame, **spec: Any) -> tuple[Stages, TableManifest]:
    """An answered table."""
    stages = Stages.of(make_pipeline(frame, id_column="id", limits=LIMITS, **spec), store)
    stages.answer_all()
    return stages, join_table(store, stages.pipeline, stages.raw)


def counts(sent: Sent) -> tuple[int, int, int]:
    """Rows written, deleted and unchanged."""
    return sent.n_written, sent.n_deleted, sent.n_unchanged


def table_of(store: Store, place: Place) -> pl.DataFrame:
    """The table as a sink is to have it."""
    rows_ = read_latest(store, "calls")
    frame = rows_.drop([name for name, dtype in rows_.schema.items() if dtype == pl.Null]).with_columns(
        pl.col(place.null_lists).fill_null([]), pl.col("took").dt.total_microseconds()
    )
    return frame.cast({name: plain_dtype(dtype) for name, dtype in frame.schema.items()})  # type: ignore[arg-type]


def postgresql_place(server: str, monkeypatch: pytest.MonkeyPatch, name: str) -> Place:
    """A table in a schema of its own."""
    monkeypatch.setenv("OUT", server)
    with psycopg2.connect(server) as opened, opened.cursor() as cursor:
        cursor.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE; CREATE SCHEMA "{name}"')
    opened.close()

    def read(table: str = "calls") -> pl.DataFrame:
        return pl.read_database_uri(f'SELECT * FROM "{name}".{table}', server, engine="adbc")  # noqa: S608

    return Place("sql", {"connection_env": "OUT", "table": f"{name}.calls"}, read)


killed_at: list[tuple[str, str]] = []
"""The announcement at which to end."""


class Killed(BaseException):
    """Ends the work at an announcement, as a signal would: nothing in the package catches it."""


def _kill(event: str, arguments: tuple[Any, ...]) -> None:
    is_lock = event.startswith("bedrock_assets.") and arguments[1].endswith("-lock.json")
    if (event.removeprefix("bedrock_assets."), arguments[:1] and arguments[0]) in killed_at and not is_lock:
        killed_at.clear()
        raise Killed


sys.addaudithook(_kill)

PLACES: dict[str, Callable[..., Place]] = {
    "sqlite": lambda request: sqlite_place(request.getfixturevalue("tmp_path")),
    "duckdb": lambda request: duckdb_place(request.getfixturevalue("tmp_path")),
    "iceberg": lambda request: iceberg_place(request.getfixturevalue("tmp_path")),
    "lancedb": lambda request: lance_place(request.getfixturevalue("tmp_path")),
    "postgresql": lambda request: postgresql_place(
        request.getfixturevalue("server"), request.getfixturevalue("monkeypatch"), "golden odd"
    ),
}


@pytest.mark.parametrize("name", PLACES)
def test_golden(name: str, request: pytest.FixtureRequest, make_pipeline: MakePipeline, store: Store) -> None:
    """Equal after the first write, after a change and a removal, after a repeat; and only what has changed is sent."""
    place = PLACES[name](request)
    first = odd_rows(12)
    stages, table = built(make_pipeline, store, first, **place.spec)
    assert counts(publish(stages, table)) == (12, 0, 0)
    assert plain(place.read()) == plain(table_of(store, place))
    assert counts(publish(stages, table)) == (0, 0, 12)

    changed = pl.concat([first.slice(0, 3), first.slice(4, 8), odd_rows(14).slice(12, 2)]).with_columns(
        text=pl.when(pl.int_range(pl.len()) == 5).then(pl.lit("anew")).otherwise("text")
    )
    stages, table = built(make_pipeline, store, changed, **place.spec)
    assert counts(publish(stages, table)) == (3, 1, 10)
    circumstances = [column for column in table_of(store, place).columns if column in CIRCUMSTANCES]
    expected = table_of(store, place).drop(circumstances)
    assert plain(place.read().drop(circumstances)) == plain(expected)
    assert counts(publish(stages, table)) == (0, 0, 13)


@pytest.mark.parametrize("name", PLACES)
def test_ended_at_any_point(
    name: str, request: pytest.FixtureRequest, make_pipeline: MakePipeline, store: Store
) -> None:
    """What ends before or after a commit leaves the old rows or the new ones, and the next run makes them right."""
    place = PLACES[name](request)
    points = [("write", "before"), ("write", "after")]
    points += [("delete", "before"), ("delete", "after")] if place.kind == "lancedb" else []
    for round_, point in enumerate(points):
        before = odd_rows(6 + round_)
        stages, table = built(make_pipeline, store, before, **place.spec)
        publish(stages, table)
        old = plain(place.read())
        after = before.slice(1).with_columns(text=pl.lit(f"anew {round_}"))
        stages, table = built(make_pipeline, store, after, **place.spec)
        killed_at.append(point)
        with pytest.raises(Killed):
            publish(stages, table)
        left = plain(place.read())
        publish(stages, table)
        new = plain(place.read())
        assert len(new) == len(after)
        assert {row["text"] for row in new} == {f"anew {round_}"}
        if place.kind != "lancedb":
            assert left == (old if point[1] == "before" else new)
        assert counts(publish(stages, table)) == (0, 0, len(after))


@pytest.mark.parametrize("name", PLACES)
def test_a_table_that_is_replaced_meanwhile(
    name: str, request: pytest.FixtureRequest, make_pipeline: MakePipeline, store: Store
) -> None:
    """Rows of two builds are never mixed: the sink keeps those that it has."""
    place = PLACES[name](request)
    stages, old = built(make_pipeline, store, odd_rows(6), **place.spec)
    newer, new = built(make_pipeline, store, odd_rows(6).with_columns(text=pl.lit("anew")), **place.spec)
    with pytest.raises(StoreConflict, match="was replaced while it was read"):
        publish(stages, old)
    publish(newer, new)
    before = plain(place.read())
    with pytest.raises(StoreConflict, match="was replaced while it was read"):
        publish(stages, old)
    assert plain(place.read()) == before


@pytest.mark.parametrize("name", PLACES)
def test_other_rows(name: str, request: pytest.FixtureRequest, make_pipeline: MakePipeline, store: Store) -> None:
    """Two pipelines share a table and leave each other's rows; an id of both, or a column that lacks, is refused."""
    place = PLACES[name](request)
    spec = {"sinks": {place.kind: {**place.settings, "columns": ["text"]}}}
    stages, table = built(make_pipeline, store, texts(4), **spec)
    assert counts(publish(stages, table)) == (4, 0, 0)
    assert set(place.read().columns) == {"text", "record_id", MARK}

    others = texts(9).slice(4).with_columns(text=pl.lit("theirs"))
    theirs, their_table = built(make_pipeline, store, others, **spec, name="letters")
    assert counts(publish(theirs, their_table)) == (5, 0, 0)
    stages, table = built(make_pipeline, store, texts(3), **spec)
    assert counts(publish(stages, table)) == (0, 1, 3)
    assert sorted(place.read()["record_id"]) == ["c0", "c1", "c2", "c4", "c5", "c6", "c7", "c8"]

    stages, table = built(make_pipeline, store, texts(5), **spec)
    with pytest.raises(DataError, match="record id 'c4' is in the sink as a row of another pipeline"):
        publish(stages, table)
    stages, table = built(make_pipeline, store, texts(3), **place.spec)
    with pytest.raises(StoreError, match="has no column 'id'; name the columns to write under `columns`"):
        publish(stages, table)
    assert len(place.read()) == 8


@pytest.mark.parametrize("name", ["sqlite", "iceberg", "lancedb"])
def test_in_many_steps(
    name: str,
    request: pytest.FixtureRequest,
    make_pipeline: MakePipeline,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However few rows are read, compared and deleted at once, and however many are replaced: the result is one."""
    for module, limit in LIMITS_OF_MEMORY:
        monkeypatch.setattr(module, limit, 2)
    place = PLACES[name](request)
    first = odd_rows(12)
    stages, table = built(make_pipeline, store, first, **place.spec)
    assert counts(publish(stages, table)) == (12, 0, 0)
    changed = first.slice(4).with_columns(
        text=pl.when(pl.int_range(pl.len()) > 2).then(pl.lit("anew")).otherwise("text")
    )
    stages, table = built(make_pipeline, store, changed, **place.spec)
    assert counts(publish(stages, table)) == (5, 4, 3)
    told = [column for column in table_of(store, place).columns if column in CIRCUMSTANCES]
    assert plain(place.read().drop(told)) == plain(table_of(store, place).drop(told))
    assert counts(publish(stages, table)) == (0, 0, 8)


def test_an_id_that_repeats(make_pipeline: MakePipeline, store: Store, tmp_path: Path) -> None:
    """Two rows with one id in the sink, and rows without any: the first is refused, the others are left."""
    import lancedb

    spec = {"sinks": {"lancedb": {"path": "lance", "table": "calls", "columns": ["text"]}}}
    stages, table = built(make_pipeline, store, texts(3), **spec)
    publish(stages, table)
    database = lancedb.connect(tmp_path / "lance")
    written = database.open_table("calls").to_arrow()
    columns = [field.with_nullable(True).remove_metadata() for field in written.schema]
    opened = database.create_table(
        "calls", pa.Table.from_batches(written.to_batches(), written.schema).cast(pa.schema(columns)), mode="overwrite"
    )
    opened.add([{"text": "of nobody", "record_id": None, MARK: None}] * 2)
    assert counts(publish(stages, table)) == (0, 0, 3)
    opened.add([{"text": "again", "record_id": "c1", MARK: None}])
    with pytest.raises(DataError, match="record id 'c1' is in the sink more than once"):
        publish(stages, table)
    opened.checkout_latest()
    assert opened.count_rows() == 6


@pytest.mark.parametrize("name", PLACES)
def test_a_first_write_that_fails(
    name: str, request: pytest.FixtureRequest, make_pipeline: MakePipeline, store: Store
) -> None:
    """It leaves no table, so that one with other columns can be made next."""
    place = PLACES[name](request)
    stages, table = built(make_pipeline, store, texts(6), **place.spec)
    store.delete([table.parts[-1].key])
    with pytest.raises(StoreConflict, match="was replaced while it was read"):
        publish(stages, table)
    with pytest.raises(Exception, match=r"calls"):
        place.read()
    stages, table = built(make_pipeline, store, texts(6).with_columns(n=pl.int_range(pl.len())), **place.spec)
    assert counts(publish(stages, table)) == (6, 0, 0)
    assert place.read()["n"].sort().to_list() == list(range(6))


@pytest.mark.parametrize("name", PLACES)
def test_columns_without_a_type(
    name: str, request: pytest.FixtureRequest, make_pipeline: MakePipeline, store: Store
) -> None:
    """A column of nulls only is left out of a new table, and makes null what was there in one that has it."""
    place = PLACES[name](request)
    nulls = texts(3).with_columns(n=pl.lit(None))
    stages, table = built(make_pipeline, store, nulls, **place.spec)
    assert counts(publish(stages, table)) == (3, 0, 0)
    assert "n" not in place.read().columns
    assert counts(publish(stages, table)) == (0, 0, 3)

    typed = {"sinks": {place.kind: {**place.settings, "table": f"{place.settings['table']}_2"}}}
    for frame, expected in ((texts(3).with_columns(n=pl.lit(7)), [7, 7, 7]), (nulls, [None, None, None])):
        stages, table = built(make_pipeline, store, frame, **typed)
        assert counts(publish(stages, table)) == (3, 0, 0)
        assert counts(publish(stages, table)) == (0, 0, 3)
        assert place.read("calls_2")["n"].to_list() == expected


@pytest.mark.parametrize("name", PLACES)
def test_zones_of_time(name: str, request: pytest.FixtureRequest, make_pipeline: MakePipeline, store: Store) -> None:
    """A moment is the same one in each place, within lists and structs too, and what is unchanged stays so."""
    place = PLACES[name](request)
    moment = datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    at = pl.Series([moment, moment + timedelta(days=180)], dtype=pl.Datetime("us", "Europe/Berlin"))
    frame = texts(2).with_columns(
        at.alias("at"), pl.struct(at.alias("at")).alias("who"), pl.concat_list(at).alias("all")
    )
    stages, table = built(make_pipeline, store, frame, **place.spec)
    assert counts(publish(stages, table)) == (2, 0, 0)
    assert counts(publish(stages, table)) == (0, 0, 2)
    found = place.read().sort("record_id")["at"].to_list()
    assert [datetime.fromisoformat(one) if isinstance(one, str) else one for one in found] == at.to_list()


@pytest.mark.parametrize("name", PLACES)
def test_values_that_few_places_have(
    name: str, request: pytest.FixtureRequest, make_pipeline: MakePipeline, store: Store
) -> None:
    """Days outside of a calendar, numbers that are none, and the largest ones: written, or one error that says why."""
    place = PLACES[name](request)
    odd = {
        "day": pl.Series([10**8, None], dtype=pl.Int32).cast(pl.Date),
        "moment": pl.Series([2**63 - 1, -(2**63)]).cast(pl.Datetime("us")),
        "share": pl.Series([float("nan"), float("inf")]),
        "large": pl.Series([2**64 - 1, 0], dtype=pl.UInt64),
        "long": pl.Series(["x" * 1_000_000, ""]),
        "void": pl.Series([[], None], dtype=pl.List(pl.Null)),
    }
    refused = list[str]()
    for column, values in odd.items():
        frame = texts(2).with_columns(values.alias("odd"))
        spec = {"sinks": {place.kind: {**place.settings, "table": f"{place.settings['table']}_{column}"}}}
        stages, table = built(make_pipeline, store, frame, **spec)
        try:
            sent = [publish(stages, table).n_written for _ in range(2)]
        except BedrockAssetsError:
            refused.append(column)
        else:
            assert sent == [2, 0]
    assert not {"share", "long"}.intersection(refused)
