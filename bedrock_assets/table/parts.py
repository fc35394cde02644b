"""
The parts of a table: one Parquet file for each shard, with its rows beside their answers.

The process that collects a shard's answers also prepares its part in a folder aside. The table then takes the prepared
parts, makes those that are missing, and publishes all of them, so that no process has to read every row.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import polars as pl

from bedrock_assets.errors import BrokenFile, DataError, StoreError, panics_are_errors
from bedrock_assets.outputs.outcomes import n_truncated
from bedrock_assets.outputs.published import read_outputs
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.shards.format import shard_rows
from bedrock_assets.storage.keys import outputs_key, prepared_part_key, raw_manifest_key
from bedrock_assets.storage.manifests import OutputFacts, PartFacts, RawManifest, Shard
from bedrock_assets.storage.parquet import write_frames
from bedrock_assets.storage.store import FACTS, Store


@dataclass(frozen=True)
class TablePart:
    """A part that exists, prepared or published."""

    key: str
    facts: PartFacts
    answers: OutputFacts
    """Metadata of the answers in it."""
    n_bytes: int


def prepare_part(store: Store, pipeline: Pipeline, shard: str) -> None:
    """
    Make the part of a shard whose answers have just been published.

    Answers that do not fit the current dataset are skipped here; the table reports them.
    """
    raw = store.read_model(raw_manifest_key(pipeline.spec.name), RawManifest)
    for planned in raw.shards if raw else ():
        if raw and planned.key == shard:
            with suppress(DataError, BrokenFile):
                make_part(store, pipeline, raw, planned)


@panics_are_errors("the table cannot be written")
def make_part(store: Store, pipeline: Pipeline, raw: RawManifest, shard: Shard) -> TablePart:
    """
    Join a shard's rows with its answers and write them aside, with `PartFacts` in the file's metadata.

    Raises:
        DataError: There is not one answer for each row.
    """
    joined = _joined(store, pipeline, raw, shard)
    answers = _answers(store, pipeline, shard)
    if answers is None:
        raise DataError(f"the answers of shard {shard.key} have no metadata; materialize batch_outputs for it again")
    names = pipeline.answer_columns
    counts = Counter(dict(joined[names["status"]].cast(pl.String).value_counts().iter_rows()))
    counts["output_tokens"] = int(joined[names["output_tokens"]].sum() or 0)
    counts["told"] = int(joined[names["output_tokens"]].count())
    counts["truncated"] = n_truncated(joined[names["stop_reason"]], pipeline.family)
    facts = PartFacts(
        identity=_identity(pipeline, raw, shard, answers),
        n_rows=len(joined),
        counts=dict(counts),
        columns={column: str(dtype) for column, dtype in joined.schema.items()},
    )
    key = prepared_part_key(pipeline.spec.name, shard.key)
    with store.writer(key) as file:
        write_frames([joined], file, {FACTS: facts.model_dump_json()})
    return TablePart(key, facts, answers, store.size(key))


def find_part(
    store: Store, pipeline: Pipeline, raw: RawManifest, shard: Shard, candidates: Mapping[str, int]
) -> TablePart | None:
    """The first of the files *candidates*, with their sizes, that has a shard's rows and current answers, or None."""
    answers = _answers(store, pipeline, shard)
    if answers is None:
        return None
    identity = _identity(pipeline, raw, shard, answers)
    for key, n_bytes in candidates.items():
        with suppress(BrokenFile):
            facts = store.parquet_facts(key)
            if facts.get("identity") == identity:
                return TablePart(key, PartFacts.model_validate(facts), answers, n_bytes)
    return None


def _identity(pipeline: Pipeline, raw: RawManifest, shard: Shard, answers: OutputFacts) -> str:
    """Hash of everything that a part is made of."""
    sources = [raw.revision, shard.model_dump(), answers.fingerprint, answers.version, pipeline.answer_columns]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()[:16]


def _answers(store: Store, pipeline: Pipeline, shard: Shard) -> OutputFacts | None:
    with suppress(StoreError):
        facts = store.parquet_facts(outputs_key(pipeline.spec.name, shard.key))
        return OutputFacts.model_validate(facts) if "version" in facts else None
    return None


def _joined(store: Store, pipeline: Pipeline, raw: RawManifest, shard: Shard) -> pl.DataFrame:
    rows = shard_rows(store, raw, shard, pipeline.record_id)
    answers = read_outputs(store, outputs_key(pipeline.spec.name, shard.key), pipeline.spec.output_prefix)
    if rows[pipeline.record_id].equals(answers[pipeline.record_id]):
        # The usual case, without a copy of what may be vectors.
        joined = rows.hstack(answers.drop(pipeline.record_id))
    else:
        joined = rows.join(answers, on=pipeline.record_id, how="left", maintain_order="left")
    n_without = joined[pipeline.answer_columns["status"]].null_count()
    if len(joined) != shard.n_rows or len(answers) != shard.n_rows or n_without:
        raise DataError(
            f"shard {shard.key} has {shard.n_rows} rows and {len(answers)} answers; {n_without} rows have none; "
            f"materialize {pipeline.spec.name}/batch_outputs for it again"
        )
    return joined
