"""A published table is read whole, as one publication, in a folder and on a real S3 server, or it is said why not."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest
from typing_extensions import override

from bedrock_assets.audit import Effect
from bedrock_assets.errors import ConfigError, StoreConflict, StoreError
from bedrock_assets.operations.scan_table import scan_table
from bedrock_assets.outputs.collect import Collected, Collector
from bedrock_assets.storage.keys import table_manifest_key, table_part_key
from bedrock_assets.storage.manifests import TableManifest
from bedrock_assets.storage.publication import Publication, read_latest
from bedrock_assets.storage.store import Store
from bedrock_assets.table.join import join_table
from tests.labs.interleaving import meanwhile
from tests.labs.stages import MakePipeline, Stages, jsonl, ok, texts

THREE_SHARDS = {"min_records_per_job": 1, "max_records_per_job": 4, "max_jobs": 1}
REPLACED = r"calls/joined_table was replaced while it was read, or since it was opened; read it again"

N_BUILDS = 12

Build = Callable[[str], TableManifest]


@pytest.fixture
def build(store: Store, make_pipeline: MakePipeline) -> Build:
    """Publishes a table of ten rows in three parts, whose answers all are the same word."""
    stages = Stages.of(make_pipeline(texts(10), id_column="id", limits=THREE_SHARDS), store)

    collected: dict[str, list[Collected]] = {}

    def collect(word: str) -> list[Collected]:
        attempt, shards = len(collected) + 1, range(len(stages.shards))
        for index in shards:
            stages.write(jsonl([ok(record_id, word) for record_id in stages.ids(index)]), index, attempt)
        return [stages.collect(attempt, shard=index) for index in shards]

    def publish(word: str) -> TableManifest:
        if word not in collected:
            collected[word] = collect(word)
        for shard, answers in zip(stages.shards, collected[word], strict=True):
            Collector(stages.pipeline.workload, store, shard).publish(answers)
        return join_table(store, stages.pipeline, stages.raw)

    return publish


def words(frame: pl.DataFrame) -> list[str]:
    """The answers in order."""
    return frame["response"].to_list()


def test_the_rows(store: Store, build: Build) -> None:
    """Every row in order, with the schema of the files; of a part of it, what was asked for."""
    build("one")
    table = Publication.latest(store, "calls").scan()
    files = store.scan_parquet([table_part_key("calls", index) for index in range(3)])
    assert table.collect_schema() == files.collect_schema()
    assert table.collect().equals(files.collect())
    assert table.select(pl.len()).collect().item() == 10
    wanted = pl.col("id").is_in(["c2", "c9"])
    assert table.filter(wanted).select("id", "response").collect().rows() == [("c2", "one"), ("c9", "one")]
    assert table.select("id").slice(3, 3).collect()["id"].to_list() == ["c3", "c4", "c5"]
    assert table.filter(wanted).head(1).select("id").collect()["id"].to_list() == ["c2"]
    assert table.head(0).collect().is_empty()


def test_only_the_files_that_are_needed(store: Store, build: Build) -> None:
    """The first rows are read without the last part, which need not even be there."""
    build("one")
    table = Publication.latest(store, "calls").scan()
    store.delete([table_part_key("calls", 2)])
    assert table.head(6).collect()["id"].to_list() == [f"c{i}" for i in range(6)]
    with pytest.raises(StoreConflict, match=REPLACED):
        table.collect()


def forget(store: Store) -> None:
    """Delete the copies of former tables, as a build does an hour later."""
    store.delete([file.key for file in store.files("calls/table-former")])


def test_a_frame_has_one_publication(store: Store, build: Build) -> None:
    """After other builds the frame has its rows still, lazily and streamed; without the copies it is refused."""
    build("one")
    table = Publication.latest(store, "calls").scan()
    assert words(table.collect()) == ["one"] * 10
    build("two")
    build("three")
    for engine in ("in-memory", "streaming"):
        assert words(table.collect(engine=engine)) == ["one"] * 10
    forget(store)
    for engine in ("in-memory", "streaming"):
        with pytest.raises(StoreConflict, match=REPLACED):
            table.collect(engine=engine)
    assert words(Publication.latest(store, "calls").scan().collect()) == ["three"] * 10


def test_the_same_table_once_more(store: Store, build: Build) -> None:
    """A build of the same answers replaces nothing, and disturbs no frame."""
    first = build("one")
    table = Publication.latest(store, "calls").scan()
    assert build("one").revision == first.revision
    assert words(table.collect()) == ["one"] * 10


@pytest.mark.parametrize("moved", range(3))
def test_in_the_middle_of_a_build(store: Store, build: Build, moved: int) -> None:
    """When some files are replaced and the manifest is not, every reader gets the former table, whole."""
    build("one")
    opened = Publication.latest(store, "calls").scan()
    seen: list[list[str]] = []

    def look() -> None:
        reads = (opened.collect, scan_table("calls", store).collect, lambda: read_latest(store, "calls"))
        seen.extend(words(read()) for read in reads)

    with meanwhile("after", Effect.MOVE, table_part_key("calls", moved), look):
        build("two")
    assert seen == [["one"] * 10] * 3
    assert words(read_latest(store, "calls")) == ["two"] * 10


def test_a_build_that_was_stopped(store: Store, build: Build) -> None:
    """Its table is not there, and the former one is; the next build keeps that for those who read it."""
    build("one")

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), meanwhile("after", Effect.MOVE, table_part_key("calls", 1), stop):
        build("two")
    opened = scan_table("calls", store)
    assert words(opened.collect()) == words(read_latest(store, "calls")) == ["one"] * 10
    build("three")
    assert words(opened.collect()) == ["one"] * 10
    assert words(read_latest(store, "calls")) == ["three"] * 10


def test_while_tables_are_published_all_the_time(store: Store, build: Build) -> None:
    """Whoever reads meanwhile, lazily or not, gets one table, whole, and never an error."""
    said = ["one", "two", "three"]
    for word in said:
        build(word)
    seen, n_built, ended = list[list[str]](), 0, threading.Event()

    def read() -> None:
        while not ended.is_set():
            seen.append(words(scan_table("calls", store).collect()))
            seen.append(words(read_latest(store, "calls")))
            seen.append(words(scan_table("calls", store).collect(engine="streaming")))

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(read)
        try:
            # A reader that fails ends it, too.
            while (n_built < N_BUILDS or len({*map(tuple, seen)}) < len(said)) and not reader.done():
                build(said[n_built % len(said)])
                n_built += 1
        finally:
            ended.set()
        reader.result()
    assert {*map(tuple, seen)} == {(word,) * 10 for word in said}


def test_before_a_build_moves_anything(store: Store, build: Build) -> None:
    """Until then the old table is read, whole."""
    build("one")
    seen: list[list[str]] = []
    with meanwhile(
        "before", Effect.MOVE, table_part_key("calls", 0), lambda: seen.append(words(read_latest(store, "calls")))
    ):
        build("two")
    assert seen == [["one"] * 10]


class Interrupted(Store):
    """A store in which something happens, once, when part *at* of the table has been read."""

    def between(self, at: int, act: Callable[[], object]) -> "Interrupted":
        """This store, with what happens."""
        object.__setattr__(self, "_planned", [(table_part_key("calls", at), act)])
        return self

    @override
    def parquet_facts(self, key: str) -> dict[str, str]:
        planned: list[tuple[str, Callable[[], object]]] = getattr(self, "_planned", [])
        if planned and planned[0][0] == key:
            planned.pop()[1]()
        return super().parquet_facts(key)


@pytest.mark.parametrize("part", [1, 2])
def test_a_build_between_two_parts(store: Store, build: Build, part: int) -> None:
    """The table is read on. Without its copy, all rows in memory are those of the new one, and a frame is refused."""
    build("one")
    interrupted = Interrupted(store.url, store.region, store.endpoint_url).between(part, lambda: build("two"))
    table = Publication.latest(interrupted, "calls").scan()
    assert words(table.collect()) == ["one"] * 10

    def build_and_forget(word: str) -> None:
        build(word)
        forget(store)

    table = Publication.latest(interrupted.between(part, lambda: build_and_forget("three")), "calls").scan()
    with pytest.raises(StoreConflict, match=REPLACED):
        table.collect()
    interrupted.between(part, lambda: build_and_forget("one"))
    assert words(read_latest(interrupted, "calls")) == ["one"] * 10


def test_a_table_of_an_earlier_release(store: Store, build: Build) -> None:
    """A manifest that does not say of what its parts are made is compared as a whole."""
    manifest = build("one")
    parts = tuple(part.model_copy(update={"identity": ""}) for part in manifest.parts)
    store.write_model(table_manifest_key("calls"), manifest.model_copy(update={"parts": parts}))
    table = Publication.latest(store, "calls").scan()
    assert words(table.collect()) == ["one"] * 10
    build("two")
    with pytest.raises(StoreConflict, match=REPLACED):
        table.collect()


def test_a_query_that_is_wrong(store: Store, build: Build) -> None:
    """A mistake in the query is told as polars tells it."""
    build("one")
    table = Publication.latest(store, "calls").scan()
    with pytest.raises(pl.exceptions.InvalidOperationError, match="conversion"):
        table.filter(pl.col("response").cast(pl.Int64) > 1).collect()
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match="respnse"):
        table.select("respnse").collect()


def test_a_part_that_is_no_parquet(store: Store, build: Build) -> None:
    """A damaged file is no other publication."""
    build("one")
    table = Publication.latest(store, "calls").scan()
    store.put(table_part_key("calls", 1), b"not Parquet")
    with pytest.raises(StoreError, match=r"part-00001.parquet cannot be read, it is cut or damaged") as raised:
        table.collect()
    assert not isinstance(raised.value, StoreConflict)


def test_names(store: Store, build: Build) -> None:
    """A wrong name is told with the right ones; a pipeline without a table, with what to do."""
    build("one")
    store.put("labels/raw/manifest.json", b"{}")
    with pytest.raises(ConfigError, match=r"no cals/joined_table in .*, which has tables of: calls; correct the name"):
        Publication.latest(store, "cals")
    with pytest.raises(ConfigError, match=r"labels/joined_table has not been materialized in .*; materialize it"):
        Publication.latest(store, "labels")
