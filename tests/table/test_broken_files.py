"""Files of the store that a hand or a disk has cut: the error names the file and the cure, and the cure works."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bedrock_assets.dataset.ingest import ingest
from bedrock_assets.errors import BrokenFile, DataError, StoreError
from bedrock_assets.outputs.collect import Collector
from bedrock_assets.shards.answer_cache import answers_folder, read_prompt_index
from bedrock_assets.shards.format import format_shard
from bedrock_assets.storage.keys import outputs_key, raw_manifest_key, shard_manifest_key, table_manifest_key
from bedrock_assets.storage.manifests import RawManifest, ShardManifest, TableManifest
from bedrock_assets.storage.store import Store
from bedrock_assets.table.conservation import conservation_facts
from bedrock_assets.table.join import join_table, readiness
from tests.labs.stages import MakePipeline, Stages, texts

TWO_SHARDS = {"min_records_per_job": 1, "max_records_per_job": 5, "max_jobs": 1}


@pytest.fixture
def stages(store: Store, make_pipeline: MakePipeline) -> Stages:
    """Ten rows in two shards, all answered, and their table."""
    made = Stages.of(make_pipeline(texts(10), limits=TWO_SHARDS), store)
    made.answer_all()
    join_table(store, made.pipeline, made.raw)
    return made


def cut(store: Store, key: str) -> None:
    """Leave the first half of a file."""
    path = Path(store.path(key))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def remove(store: Store, key: str) -> None:
    """Leave nothing of a file."""
    Path(store.path(key)).unlink()


def empty(store: Store, key: str) -> None:
    """Leave a file of zeros, as a disk does after a power cut."""
    path = Path(store.path(key))
    path.write_bytes(b"\0" * path.stat().st_size)


Damage = Callable[[Store, str], None]
DAMAGES = pytest.mark.parametrize("damage", [cut, remove, empty], ids=["cut", "removed", "zeros"])


def test_the_table_is_whole(stages: Stages) -> None:
    """What the other tests break, and make whole again."""
    assert join_table(stages.store, stages.pipeline, stages.raw).n_ok == 10


@DAMAGES
def test_a_part_of_the_dataset(stages: Stages, damage: Damage) -> None:
    """Ingesting again writes it anew, under the same revision, so that prompts and answers stay valid."""
    damage(stages.store, stages.raw.parts[0].key)
    with pytest.raises(StoreError, match=r"part-00000.*; materialize calls/raw_dataset again, which writes it anew"):
        format_shard(stages.pipeline, stages.store, stages.raw, stages.raw.shards[0])
    again = ingest(stages.pipeline, stages.store)
    assert (again.revision, again.shards) == (stages.raw.revision, stages.raw.shards)
    manifest = format_shard(stages.pipeline, stages.store, again, again.shards[0])
    assert manifest.fingerprint == stages.shards[0].fingerprint
    assert readiness(stages.store, stages.pipeline, again) is None


@DAMAGES
def test_the_manifest_of_the_dataset(stages: Stages, damage: Damage) -> None:
    """Ingesting again writes it anew."""
    key = raw_manifest_key("calls")
    damage(stages.store, key)
    if damage is not remove:
        with pytest.raises(BrokenFile, match=r"manifest.json is not a RawManifest: .*materialize calls/raw_dataset"):
            stages.store.read_model(key, RawManifest)
    again = ingest(stages.pipeline, stages.store)
    assert again.revision == stages.raw.revision
    assert stages.store.read_model(key, RawManifest) == again


@DAMAGES
@pytest.mark.parametrize("file", ["rows", "prompts"])
@pytest.mark.parametrize("fresh", ["", "run"])
def test_a_file_of_a_shard(stages: Stages, damage: Damage, file: str, fresh: str) -> None:
    """Formatting again writes it as it was: the shard's fingerprint, its job in flight and its answers stay valid."""
    before = stages.shards[0]
    known = read_prompt_index(stages.store, stages.pipeline)
    if fresh:
        before = format_shard(stages.pipeline, stages.store, stages.raw, before.shard, fresh=fresh)
    content = {name: stages.store.get(getattr(before, name)) for name in ("rows", "prompts")}
    damage(stages.store, getattr(before, file))
    if file == "rows":
        with pytest.raises(StoreError, match=r"rows\.parquet.*materialize calls/prompt_shards for shard 00000"):
            Collector(stages.pipeline.workload, stages.store, before).collect([""], "")
    after = format_shard(stages.pipeline, stages.store, stages.raw, before.shard, known)
    assert after == before
    assert {name: stages.store.get(getattr(after, name)) for name in ("rows", "prompts")} == content


@DAMAGES
def test_the_manifest_of_a_shard(stages: Stages, damage: Damage) -> None:
    """Formatting again writes it anew."""
    key = shard_manifest_key("calls", stages.shards[1].shard.key)
    damage(stages.store, key)
    with pytest.raises((StoreError, DataError), match=r"materialize calls/prompt_shards"):
        readiness(stages.store, stages.pipeline, stages.raw)
    format_shard(stages.pipeline, stages.store, stages.raw, stages.raw.shards[1])
    assert stages.store.read_model(key, ShardManifest) == stages.shards[1]
    assert readiness(stages.store, stages.pipeline, stages.raw) is None


@DAMAGES
def test_the_answers_of_a_shard(stages: Stages, damage: Damage) -> None:
    """Collecting again writes them anew, from Bedrock's output."""
    key = outputs_key("calls", stages.shards[0].shard.key)
    damage(stages.store, key)
    if damage is remove:
        assert "00000-of-00002" in str(readiness(stages.store, stages.pipeline, stages.raw))
    else:
        with pytest.raises(BrokenFile, match="materialize calls/batch_outputs for shard 00000-of-00002 again"):
            readiness(stages.store, stages.pipeline, stages.raw)
    Collector(stages.pipeline.workload, stages.store, stages.shards[0]).publish(stages.collect())
    assert join_table(stages.store, stages.pipeline, stages.raw).n_ok == 10


@DAMAGES
def test_a_part_of_the_table(stages: Stages, damage: Damage) -> None:
    """Joining again makes it anew."""
    before = stages.parts([part.key for part in join_table(stages.store, stages.pipeline, stages.raw).parts])
    damage(stages.store, "calls/table/part-00001.parquet")
    manifest = stages.store.read_model(table_manifest_key("calls"), TableManifest)
    assert manifest
    with pytest.raises(StoreError, match=r"table/part-00001.*; materialize calls/joined_table again"):
        conservation_facts(stages.store, stages.pipeline, stages.raw, manifest)
    again = join_table(stages.store, stages.pipeline, stages.raw)
    assert_frame_equal(stages.parts([part.key for part in again.parts]), before)


@DAMAGES
def test_answers_that_are_kept(stages: Stages, damage: Damage) -> None:
    """A file of answers for reuse that is broken is as good as none: its prompts are sent again."""
    first, second = [file.key for file in stages.store.files(answers_folder("calls"))]
    damage(stages.store, first)
    assert len(read_prompt_index(stages.store, stages.pipeline)) == 5
    assert stages.store.is_parquet(second)


def test_a_file_that_is_cut_elsewhere_has_no_cure_of_ours(store: Store) -> None:
    """A broken file outside of a pipeline's folders is named all the same."""
    store.put("mine.parquet", b"PAR1")
    with pytest.raises(BrokenFile, match=r"mine\.parquet cannot be read, it is cut or damaged: [^;]*$"):
        store.read_parquet("mine.parquet")
    with pytest.raises(StoreError, match=r"cannot read 'other.parquet' in store"):
        store.read_parquet(["other.parquet"], lambda rows: rows.select(pl.len()))
