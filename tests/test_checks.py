"""The proof of conservation finds what is wrong with a table."""

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from bedrock_assets.checks import conservation_facts, conserved, shard_facts
from bedrock_assets.records import TableManifest, outputs_key
from bedrock_assets.store import Store
from bedrock_assets.table import join_table
from tests.lab import MakePipeline, Stages, texts

Tamper = Callable[[pl.DataFrame], pl.DataFrame]


@pytest.fixture
def stages(store: Store, make_pipeline: MakePipeline) -> Stages:
    """Ten answered rows in three shards."""
    limits = {"min_records_per_job": 1, "max_records_per_job": 4, "max_jobs": 1}
    made = Stages.of(make_pipeline(texts(10), limits=limits), store)
    made.answer_all()
    return made


@pytest.fixture
def manifest(stages: Stages) -> TableManifest:
    """Of the table over them."""
    return join_table(stages.store, stages.pipeline, stages.raw)


TAMPERED: dict[str, tuple[Tamper, dict[str, int]]] = {
    "lost": (lambda rows: rows.head(-1), {"n_rows_out": -1, "n_lost": 1}),
    "doubled": (lambda rows: pl.concat([rows, rows.head(1)]), {"n_rows_out": 1}),
    "replaced": (lambda rows: pl.concat([rows.head(-1), rows.head(1)]), {"n_lost": 1}),
    "without status": (lambda rows: rows.with_columns(status=pl.lit(None, pl.String)), {"n_without_status": 3}),
    "odd status": (lambda rows: rows.with_columns(status=pl.lit("done")), {"n_without_status": 3}),
}


def spoil(path: str, tamper: Tamper) -> None:
    """Rewrite a Parquet file."""
    tamper(pl.read_parquet(path)).write_parquet(path)


def test_a_whole_table_is_conserved(stages: Stages, manifest: TableManifest) -> None:
    """A table as it was built passes, with its rows counted."""
    facts = conservation_facts(stages.store, stages.pipeline, stages.raw, manifest)
    assert facts == {"n_rows_in": 10, "n_rows_out": 10, "n_lost": 0, "n_without_status": 0}
    assert conserved(facts)


@pytest.mark.parametrize("name", TAMPERED)
def test_a_spoiled_table_is_found(stages: Stages, manifest: TableManifest, name: str) -> None:
    """A lost, doubled, replaced or status-less row in one part fails the table, and is counted."""
    tamper, change = TAMPERED[name]
    before = conservation_facts(stages.store, stages.pipeline, stages.raw, manifest)
    spoil(stages.store.path(manifest.parts[1].key), tamper)
    facts = conservation_facts(stages.store, stages.pipeline, stages.raw, manifest)
    assert not conserved(facts)
    assert {fact: facts[fact] - before[fact] for fact in facts if facts[fact] != before[fact]} == change


@pytest.mark.parametrize("name", TAMPERED)
def test_spoiled_answers_are_found(stages: Stages, name: str) -> None:
    """The same in one shard's answers fails that shard and no other."""
    spoil(stages.store.path(outputs_key("calls", "00001-of-00003")), TAMPERED[name][0])
    found = [conserved(shard_facts(stages.store, stages.pipeline, stages.raw, shard)) for shard in stages.raw.shards]
    assert found == [True, False, True]


def test_rows_in_the_wrong_part_are_lost(stages: Stages, manifest: TableManifest) -> None:
    """Two parts that are swapped have all rows, and none where it belongs."""
    first, second = (Path(stages.store.path(part.key)) for part in manifest.parts[:2])
    shutil.move(first, first.with_suffix(".aside"))
    shutil.move(second, first)
    shutil.move(first.with_suffix(".aside"), second)
    facts = conservation_facts(stages.store, stages.pipeline, stages.raw, manifest)
    assert facts["n_lost"] == 6
    assert not conserved(facts)


@pytest.mark.parametrize("parts", [lambda parts: parts[:-1], lambda parts: [*parts, parts[0]]])
def test_parts_that_are_no_shards(stages: Stages, manifest: TableManifest, parts: Callable[..., object]) -> None:
    """A table with a part too few, or one too many, is not conserved."""
    spoiled = manifest.model_copy(update={"parts": tuple(parts(manifest.parts))})  # type: ignore[arg-type]
    assert not conserved(conservation_facts(stages.store, stages.pipeline, stages.raw, spoiled))


def test_a_shard_without_answers_is_lost(stages: Stages) -> None:
    """All rows of a shard that has no answers are lost."""
    stages.store.delete([outputs_key("calls", "00000-of-00003")])
    facts = shard_facts(stages.store, stages.pipeline, stages.raw, stages.raw.shards[0])
    assert facts == {"n_rows_in": 3, "n_rows_out": 0, "n_lost": 3, "n_without_status": 0}
