"""
A table's parts: one Parquet file for each shard, its rows beside their answers.

Whoever brings a shard's answers makes its part as well, aside, so that this work is spread like theirs. The table then
takes what is there, makes what is not, and publishes all of it: no process has to read every row.
"""

import hashlib
import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

import polars as pl

from bedrock_assets.errors import DataError, StoreError
from bedrock_assets.outputs.outcomes import n_truncated
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.shards.format import shard_rows
from bedrock_assets.storage.keys import outputs_key, prepared_part_key, raw_manifest_key
from bedrock_assets.storage.manifests import OutputFacts, PartFacts, RawManifest, Shard
from bedrock_assets.storage.parquet import write_frames
from bedrock_assets.storage.store import FACTS, Store


@dataclass(frozen=True)
class MadePart:
    """A shard's part that is there."""

    key: str
    facts: PartFacts
    answers: OutputFacts
    """What stands in the metadata of the answers that went in."""


def prepare_part(store: Store, pipeline: Pipeline, shard: str) -> None:
    """
    Make a shard's part, when its answers have just been published.

    Nothing is made of answers that do not fit the dataset as it is now; the table will say so.
    """
    raw = store.read_model(raw_manifest_key(pipeline.spec.name), RawManifest)
    planned = [each for each in raw.shards if each.key == shard] if raw else []
    if raw and planned:
        with suppress(DataError):
            make_part(store, pipeline, raw, planned[0])


def make_part(store: Store, pipeline: Pipeline, raw: RawManifest, shard: Shard) -> MadePart:
    """
    Join a shard's rows with its answers and write them aside, with what they are in the file's own metadata.

    Raises:
        DataError: The answers are not one for each row.
    """
    joined = _joined(store, pipeline, raw, shard)
    answers = _answers(store, pipeline, shard)
    if answers is None:
        raise DataError(f"the answers of shard {shard.key} do not tell what they belong to; materialize it again")
    names = pipeline.answer_columns
    counts = Counter(dict(joined[names["status"]].cast(pl.String).value_counts().iter_rows()))
    counts["output_tokens"] = int(joined[names["output_tokens"]].sum() or 0)
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
    return MadePart(key, facts, answers)


def find_part(
    store: Store, pipeline: Pipeline, raw: RawManifest, shard: Shard, candidates: tuple[str, ...]
) -> MadePart | None:
    """The first of the files *candidates* that is a shard's part with its current answers, if there is one."""
    answers = _answers(store, pipeline, shard)
    if answers is None:
        return None
    wanted = _identity(pipeline, raw, shard, answers)
    for key in candidates:
        told = store.parquet_facts(key)
        if told.get("identity") == wanted:
            return MadePart(key, PartFacts.model_validate(told), answers)
    return None


def _identity(pipeline: Pipeline, raw: RawManifest, shard: Shard, answers: OutputFacts) -> str:
    """Hash of all that a part is made of."""
    made_of = [raw.revision, shard.model_dump(), answers.fingerprint, answers.version, pipeline.answer_columns]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]


def _answers(store: Store, pipeline: Pipeline, shard: Shard) -> OutputFacts | None:
    with suppress(StoreError):
        told = store.parquet_facts(outputs_key(pipeline.spec.name, shard.key))
        return OutputFacts.model_validate(told) if "version" in told else None
    return None


def _joined(store: Store, pipeline: Pipeline, raw: RawManifest, shard: Shard) -> pl.DataFrame:
    rows = shard_rows(store, raw, shard).collect()
    answers = store.scan_parquet([outputs_key(pipeline.spec.name, shard.key)]).collect()
    if rows[pipeline.record_id].equals(answers[pipeline.record_id]):
        # As they are published: no copy is made of what may be vectors.
        joined = rows.hstack(answers.drop(pipeline.record_id))
    else:
        joined = rows.join(answers, on=pipeline.record_id, how="left", maintain_order="left")
    n_without = joined[pipeline.answer_columns["status"]].null_count()
    if len(joined) != shard.n_rows or len(answers) != shard.n_rows or n_without:
        raise DataError(
            f"shard {shard.key} has {shard.n_rows} rows and {len(answers)} answers, {n_without} rows without one; "
            f"materialize {pipeline.spec.name}/batch_outputs for it again"
        )
    return joined
