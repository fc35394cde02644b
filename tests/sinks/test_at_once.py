"""Two writers of one place at once: each row is there once, whoever is overtaken says so, and copies are put right."""

import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import psycopg2
import pyarrow as pa
import pytest

from bedrock_assets.errors import DataError, StoreConflict
from bedrock_assets.sinks import Sent, iceberg, lance
from bedrock_assets.sinks.iceberg import REVISION
from bedrock_assets.storage.keys import sink_lock_key
from bedrock_assets.storage.store import Store
from tests.labs.stages import MakePipeline, texts
from tests.sinks.places import Place, iceberg_place, lance_place
from tests.sinks.test_sinks import built, counts, postgresql_place, publish

PLACES: dict[str, Callable[[Path], Place]] = {"iceberg": iceberg_place, "lancedb": lance_place}
meanwhile: list[Callable[[], object]] = []
"""What somebody else does once, when marks are read and nothing is written."""


def _let_in(event: str, arguments: tuple[Any, ...]) -> None:
    if (
        meanwhile
        and event == "bedrock_assets.write"
        and arguments[0] == "before"
        and not arguments[1].endswith("-lock.json")
    ):
        meanwhile.pop()()


sys.addaudithook(_let_in)


def sink_of(place: Place) -> dict[str, Any]:
    """The sink with the texts only."""
    return {"sinks": {place.kind: {**place.settings, "columns": ["text"]}}}


@pytest.mark.parametrize("name", PLACES)
def test_two_runs_of_one_sink(name: str, make_pipeline: MakePipeline, store: Store, tmp_path: Path) -> None:
    """The one that is overtaken fails before it writes, with a first table and with changes to one."""
    place = PLACES[name](tmp_path)
    for frame in (texts(4), texts(6).with_columns(text=pl.lit("anew"))):
        stages, table = built(make_pipeline, store, frame, **sink_of(place))
        meanwhile.append(lambda stages=stages, table=table: publish(stages, table))
        with pytest.raises(StoreConflict, match="_table was taken over by another run while this one was working"):
            publish(stages, table)
        assert not meanwhile
        assert place.read().sort("record_id")["text"].to_list() == frame["text"].to_list()
        assert counts(publish(stages, table)) == (0, 0, len(frame))


@pytest.mark.parametrize("name", PLACES)
def test_two_pipelines(name: str, make_pipeline: MakePipeline, store: Store, tmp_path: Path) -> None:
    """What another pipeline has written meanwhile is read before anything is written; an id of both is an error."""
    place = PLACES[name](tmp_path)
    ours, table = built(make_pipeline, store, texts(4), **sink_of(place))
    theirs, their_table = built(make_pipeline, store, texts(9).slice(4), **sink_of(place), name="letters")
    meanwhile.append(lambda: publish(theirs, their_table))
    assert counts(publish(ours, table)) == (4, 0, 0)
    assert sorted(place.read()["record_id"]) == [f"c{i}" for i in range(9)]

    ours, table = built(
        make_pipeline, store, texts(10).filter(pl.col("id").is_in(["c0", "c1", "c9"])), **sink_of(place)
    )
    theirs, their_table = built(make_pipeline, store, texts(10).slice(4), **sink_of(place), name="letters")
    meanwhile.append(lambda: publish(theirs, their_table))
    with pytest.raises(DataError, match="as a row of another pipeline"):
        publish(ours, table)
    assert sorted(place.read()["record_id"]) == [f"c{i}" for i in range(10)]


@pytest.mark.parametrize("name", PLACES)
def test_two_make_the_table(
    name: str, make_pipeline: MakePipeline, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes second writes to the one that is there then."""
    place = PLACES[name](tmp_path)
    ours, table = built(make_pipeline, store, texts(4), **sink_of(place))
    theirs, their_table = built(make_pipeline, store, texts(9).slice(4), **sink_of(place), name="letters")
    module, schema_of = (lance, "_keyed") if name == "lancedb" else (iceberg, "to_arrow")
    original = getattr(module, schema_of)

    def after_theirs(*arguments: Any) -> Any:
        monkeypatch.setattr(module, schema_of, original)
        assert counts(publish(theirs, their_table)) == (5, 0, 0)
        return original(*arguments)

    monkeypatch.setattr(module, schema_of, after_theirs)
    assert counts(publish(ours, table)) == (4, 0, 0)
    assert sorted(place.read()["record_id"]) == [f"c{i}" for i in range(9)]


@pytest.mark.parametrize("name", PLACES)
def test_others_who_keep_writing(name: str, make_pipeline: MakePipeline, store: Store, tmp_path: Path) -> None:
    """After some tries it is an error that says so, and their rows stay."""
    place = PLACES[name](tmp_path)
    others = [
        built(make_pipeline, store, texts(n + 1).slice(n), **sink_of(place), name=f"letters_{n}") for n in range(3, 6)
    ]
    ours, table = built(make_pipeline, store, texts(3), **sink_of(place))

    def write_next() -> None:
        publish(*others.pop(0))
        if others:
            meanwhile.append(write_next)

    meanwhile.append(write_next)
    with pytest.raises(StoreConflict, match="was changed by somebody else while this run was working"):
        publish(ours, table)
    assert sorted(place.read()["record_id"]) == ["c3", "c4", "c5"]
    assert counts(publish(ours, table)) == (3, 0, 0)


@pytest.mark.parametrize("name", PLACES)
def test_copies(name: str, make_pipeline: MakePipeline, store: Store, tmp_path: Path) -> None:
    """Rows of ours that are there twice are there once after the next run, those that have left the table are gone."""
    place = PLACES[name](tmp_path)
    stages, table = built(make_pipeline, store, texts(4), **sink_of(place))
    publish(stages, table)

    def copy() -> None:
        if name == "lancedb":
            import lancedb

            there = lancedb.connect(tmp_path / "lance").open_table("calls")
            there.add(there.to_arrow())
            return
        from pyiceberg.catalog import load_catalog

        opened = load_catalog("out", **place.settings["properties"]).load_table("shop.calls")
        told = opened.current_snapshot().summary[REVISION]
        opened.append(opened.scan().to_arrow(), snapshot_properties={REVISION: told})

    copy()
    assert len(place.read()) == 8
    assert counts(publish(stages, table)) == (4, 0, 0)
    assert sorted(place.read()["record_id"]) == ["c0", "c1", "c2", "c3"]
    assert counts(publish(stages, table)) == (0, 0, 4)
    copy()
    stages, table = built(make_pipeline, store, texts(3), **sink_of(place))
    assert counts(publish(stages, table)) == (3, 1, 0)
    assert sorted(place.read()["record_id"]) == ["c0", "c1", "c2"]


def test_two_merges_of_lancedb(make_pipeline: MakePipeline, store: Store, tmp_path: Path) -> None:
    """A table that is made here has a key, by which LanceDB itself keeps two merges of one new row apart."""
    import lancedb

    place = lance_place(tmp_path)
    stages, table = built(make_pipeline, store, texts(2), **sink_of(place))
    publish(stages, table)
    first, second = (lancedb.connect(tmp_path / "lance").open_table("calls") for _ in range(2))
    rows = first.to_arrow().slice(0, 1)
    key = rows.schema.field("record_id")
    new = rows.set_column(rows.schema.get_field_index("record_id"), key, pa.array(["c9"], key.type))

    def batches() -> Any:
        merged(second, new.to_reader())  # while the first merge is waiting for its rows
        yield from new.to_batches()

    def merged(opened: Any, reader: pa.RecordBatchReader) -> None:
        opened.merge_insert("record_id").when_matched_update_all().when_not_matched_insert_all().execute(reader)

    merged(first, pa.RecordBatchReader.from_batches(new.schema, batches()))
    assert sorted(place.read()["record_id"]) == ["c0", "c1", "c9"]


def test_two_runs_in_postgresql(
    server: str, make_pipeline: MakePipeline, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second waits for the first, which makes the table, and finds nothing to write."""
    place = postgresql_place(server, monkeypatch, "at once")
    stages, table = built(make_pipeline, store, texts(4), **sink_of(place))
    with ThreadPoolExecutor() as threads, closing(psycopg2.connect(server)) as watching:
        second: list[Future[Sent]] = []

        def wait_for_the_second() -> None:
            second.append(threads.submit(publish, stages, table))
            watching.autocommit = True
            with watching.cursor() as cursor:
                deadline = time.monotonic() + 20
                waiting = 0
                while not waiting and time.monotonic() < deadline and not second[0].done():
                    cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
                    waiting = (cursor.fetchone() or (0,))[0]
            assert waiting

        meanwhile.append(wait_for_the_second)
        assert counts(publish(stages, table)) == (4, 0, 0)
        assert counts(second[0].result(20)) == (0, 0, 4)


def test_the_table_keeps_its_settings(make_pipeline: MakePipeline, store: Store, tmp_path: Path) -> None:
    """That a commit is not tried again holds for ours only."""
    place = iceberg_place(tmp_path)
    stages, table = built(make_pipeline, store, texts(2), **sink_of(place))
    publish(stages, table)
    from pyiceberg.catalog import load_catalog

    opened = load_catalog("out", **place.settings["properties"]).load_table("shop.calls")
    assert "commit.retry.num-retries" not in opened.properties
    assert store.exists(sink_lock_key("calls", "iceberg_table"))
