"""The proof of conservation finds what is wrong with a table."""

import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from bedrock_assets.assets.checks import drift, odd_parts
from bedrock_assets.storage.keys import outputs_key
from bedrock_assets.storage.manifests import TableManifest
from bedrock_assets.storage.store import Store
from bedrock_assets.table.conservation import conservation_facts, conserved, shard_facts
from bedrock_assets.table.join import join_table
from tests.labs.stages import MakePipeline, Stages, texts

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


def test_a_part_with_other_columns_is_found(stages: Stages, manifest: TableManifest) -> None:
    """A table all of whose parts have the manifest's columns passes; a part with another type is named."""
    assert odd_parts(stages.store, manifest) == []
    key = manifest.parts[1].key
    spoil(stages.store.path(key), lambda rows: rows.with_columns(pl.col("attempt").cast(pl.Int32)))
    assert odd_parts(stages.store, manifest) == [key]


@pytest.mark.parametrize(
    ("mean", "means", "factor", "passed"),
    [
        (100.0, [100.0, 90.0], 100 / 90, True),
        (100.0, [90.0], 100 / 90, True),
        (100.0, [100.0, 50.0], 2.0, False),
        (20.0, [20.0, 50.0], 0.4, False),
        (100.0, [100.0], 1.0, True),
        (None, [], 1.0, True),
        (None, [50.0], 1.0, True),
    ],
)
def test_drift(mean: float | None, means: list[float], factor: float, passed: bool) -> None:
    """Answers are compared with those of the table before; the first table, and embeddings, have nothing to compare."""
    found = drift(dg.AssetKey("joined_table"), mean, means)
    assert (found.passed, found.metadata["factor"].value) == (passed, pytest.approx(factor, rel=1e-5))


def test_the_table_tells_how_long_answers_are(manifest: TableManifest) -> None:
    """Mean output tokens of the rows with an answer."""
    assert manifest.mean_output_tokens == 3.0
