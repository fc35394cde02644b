"""Two processes publish at once, in a folder and on a real S3 server: one is published whole, the other says so."""

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bedrock_assets.audit import Effect
from bedrock_assets.dataset.ingest import ingest
from bedrock_assets.errors import StoreConflict
from bedrock_assets.outputs.collect import Collector
from bedrock_assets.shards.format import format_shard
from bedrock_assets.storage.keys import (
    publish_lock_key,
    raw_manifest_key,
    shard_manifest_key,
    table_manifest_key,
    table_part_key,
)
from bedrock_assets.storage.manifests import RawManifest, ShardManifest, TableManifest
from bedrock_assets.storage.publish_lock import PublishLock
from bedrock_assets.storage.store import Store
from bedrock_assets.table.join import join_table
from bedrock_assets.table.parts import prepare_part
from tests.labs.interleaving import meanwhile
from tests.labs.stages import MakePipeline, Stages, jsonl, ok, texts

THREE_SHARDS = {"min_records_per_job": 1, "max_records_per_job": 4, "max_jobs": 1}
TAKEN = r"calls/joined_table was taken over by another run .* materialize it again"


@pytest.fixture
def stages(store: Store, make_pipeline: MakePipeline) -> Stages:
    """Ten rows in three shards, all answered."""
    made = Stages.of(make_pipeline(texts(10), limits=THREE_SHARDS), store)
    made.answer_all()
    return made


def test_a_file_is_replaced_only_as_it_was_seen(store: Store) -> None:
    """The first to write wins; who comes later with what he saw before is told, and changes nothing."""
    store.replace("calls/a.json", b"1", None)
    with pytest.raises(StoreConflict, match=r"a\.json was written by another process in the meantime"):
        store.replace("calls/a.json", b"2", None)
    seen = store.version("calls/a.json")
    store.replace("calls/a.json", b"3", seen)
    for version in (seen, None, '"made-up"'):
        with pytest.raises(StoreConflict):
            store.replace("calls/a.json", b"4", version)
    with pytest.raises(StoreConflict):
        store.replace("calls/none.json", b"5", seen)
    assert (store.get("calls/a.json"), store.version("calls/none.json")) == (b"3", None)
    store.replace("calls/a.json", b"3", seen)  # the same request once more, after its answer was lost


def test_no_write_is_lost(store: Store) -> None:
    """Eight threads add to one number, each again after a conflict: every addition counts."""

    def add(_: int) -> None:
        while True:
            version = store.version("n")
            number = int(store.get("n").split()[0]) if version else 0
            try:
                # With who wrote it, as two who write the same would both have written it.
                store.replace("n", f"{number + 1} {secrets.token_hex(8)}".encode(), version)
            except StoreConflict:
                continue
            return

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    assert store.get("n").split()[0] == b"40"


def test_a_document_larger_than_a_part(store: Store) -> None:
    """The condition holds for manifests of many megabytes as well."""
    store.replace("large", b"x" * 20_000_000, None)
    with pytest.raises(StoreConflict):
        store.replace("large", b"y" * 20_000_000, None)
    assert store.get("large")[:1] == b"x"


def later(make_pipeline: MakePipeline, store: Store, n_rows: int, made: list[RawManifest]) -> Callable[[], None]:
    """An ingest of a source that has other rows by then."""

    def run() -> None:
        made.append(ingest(make_pipeline(texts(n_rows), limits=THREE_SHARDS), store))

    return run


@pytest.mark.parametrize("n_first", [0, 10])
def test_two_ingests(store: Store, make_pipeline: MakePipeline, n_first: int) -> None:
    """The ingest that is published while another is at work stays, with its rows; the other leaves no file."""
    if n_first:
        ingest(make_pipeline(texts(n_first), limits=THREE_SHARDS), store)
    older, made = make_pipeline(texts(20), limits=THREE_SHARDS), list[RawManifest]()
    match = "another run published calls/raw_dataset .* materialize it again"
    with (
        meanwhile("before", Effect.WRITE, "raw/", later(make_pipeline, store, 7, made)),
        pytest.raises(StoreConflict, match=match) as raised,
    ):
        ingest(older, store)
    assert raised.value.retryable
    assert store.read_model(raw_manifest_key("calls"), RawManifest) == made[0]
    files = {file.key for file in store.files("calls/raw")}
    assert files == {raw_manifest_key("calls"), *(part.key for part in made[0].parts)}
    assert (
        store.scan_parquet([part.key for part in made[0].parts]).collect()["id"].to_list() == texts(7)["id"].to_list()
    )


def test_an_ingest_that_changes_nothing_meets_one_that_does(store: Store, make_pipeline: MakePipeline) -> None:
    """An older run that finds the source as it was does not report it as such, where another found it changed."""
    unchanged = make_pipeline(texts(10), limits=THREE_SHARDS)
    ingest(unchanged, store)
    made: list[RawManifest] = []
    with (
        meanwhile("before", Effect.WRITE, "raw/", later(make_pipeline, store, 7, made)),
        pytest.raises(StoreConflict),
    ):
        ingest(make_pipeline(texts(10), limits=THREE_SHARDS), store)
    assert store.read_model(raw_manifest_key("calls"), RawManifest) == made[0]


def test_two_runs_format_a_shard(stages: Stages, make_pipeline: MakePipeline) -> None:
    """The shard that is published while an older run is at work on it stays, and its files are there."""
    store, shard = stages.store, stages.raw.shards[0]
    newer: list[ShardManifest] = []

    def edited() -> None:
        pipeline = make_pipeline(texts(10), prompt="Anew {text}", limits=THREE_SHARDS)
        newer.append(format_shard(pipeline, store, stages.raw, shard))

    older = make_pipeline(texts(10), prompt="Other {text}", limits=THREE_SHARDS)
    match = f"another run formatted shard {shard.key} of calls"
    with meanwhile("before", Effect.WRITE, "/incoming-", edited), pytest.raises(StoreConflict, match=match):
        format_shard(older, store, stages.raw, shard)
    found = store.read_model(shard_manifest_key("calls", shard.key), ShardManifest)
    assert found == newer[0]
    assert store.get(found.prompts).startswith(b'{"recordId"')
    assert store.exists(found.rows)


def answer_anew(stages: Stages, shard: int) -> None:
    """A second attempt brings other answers to a shard."""
    lines = [ok(record_id, f"anew {record_id}") for record_id in stages.ids(shard)]
    stages.write(jsonl(lines), shard, attempt=2)
    Collector(stages.pipeline.workload, stages.store, stages.shards[shard]).publish(
        stages.collect(attempt=2, shard=shard)
    )


def responses(stages: Stages, manifest: TableManifest) -> list[str]:
    """What the answers in each of a table's files begin with."""
    found = [stages.store.read_parquet(part.key)["response"].to_list() for part in manifest.parts]
    assert sum(map(len, found)) == 10
    return [" ".join(sorted({answer.split()[0] for answer in answers})) for answers in found]


def test_a_later_build_takes_over(stages: Stages) -> None:
    """While a build moves its parts, a later one with newer answers is published: the older stops, mixing nothing."""
    store, made = stages.store, list[TableManifest]()

    def build_anew() -> None:
        for shard in (0, 2):
            answer_anew(stages, shard)
        made.append(join_table(store, stages.pipeline, stages.raw))

    # The last part but one is under way, so that the older build would move one more.
    at = table_part_key("calls", 1)
    with meanwhile("after", Effect.MOVE, at, build_anew), pytest.raises(StoreConflict, match=TAKEN):
        join_table(store, stages.pipeline, stages.raw)
    assert store.read_model(table_manifest_key("calls"), TableManifest) == made[0]
    assert responses(stages, made[0]) == ["anew", "to", "anew"]


def test_of_two_builds_at_once_the_second_touches_nothing(stages: Stages) -> None:
    """A build that is published while another one makes its parts stays; the other moves no file."""
    store, made, written = stages.store, list[TableManifest](), dict[str, object]()

    def build() -> None:
        made.append(join_table(store, stages.pipeline, stages.raw))
        written.update({file.key: file.modified_at for file in store.files("calls/table")})

    with (
        meanwhile("after", Effect.WRITE, "table-incoming/00002", build),
        pytest.raises(StoreConflict, match=TAKEN),
    ):
        join_table(store, stages.pipeline, stages.raw)
    assert {file.key: file.modified_at for file in store.files("calls/table")} == written
    assert store.read_model(table_manifest_key("calls"), TableManifest) == made[0]


def test_answers_that_come_while_a_table_is_published(stages: Stages) -> None:
    """A part that is replaced just before it is moved is in the table with its own counts."""
    store, pipeline = stages.store, stages.pipeline

    def come() -> None:
        answer_anew(stages, 1)
        prepare_part(store, pipeline, stages.raw.shards[1].key)

    with meanwhile("before", Effect.MOVE, table_part_key("calls", 1), come):
        manifest = join_table(store, pipeline, stages.raw)
    assert responses(stages, manifest) == ["to", "anew", "to"]
    assert manifest == store.read_model(table_manifest_key("calls"), TableManifest)
    assert manifest == join_table(store, pipeline, stages.raw)


def test_a_build_that_was_killed_holds_nobody_up(stages: Stages) -> None:
    """The right of a process that is gone is taken at once."""
    PublishLock(stages.store, publish_lock_key("calls"), "calls/joined_table").take()
    assert responses(stages, join_table(stages.store, stages.pipeline, stages.raw)) == ["to"] * 3


def test_no_lock_is_left(tmp_path: Path) -> None:
    """In a folder there is nothing but the file that was written."""
    Store(str(tmp_path / "bucket")).replace("a/b/c.json", b"{}", None)
    assert [path.name for path in (tmp_path / "bucket" / "a" / "b").iterdir()] == ["c.json"]
