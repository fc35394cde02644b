"""The last stage: every input row with its answer, as Parquet parts that are published together."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass

import polars as pl

from bedrock_assets.errors import DataError
from bedrock_assets.parallel import N_READERS, ordered
from bedrock_assets.parquet import write_frames
from bedrock_assets.pipeline import Pipeline
from bedrock_assets.prices import Tokens, add
from bedrock_assets.records import (
    OutputFacts,
    Part,
    RawManifest,
    Shard,
    TableManifest,
    outputs_folder,
    outputs_key,
    table_manifest_key,
    table_part_key,
)
from bedrock_assets.shards import current_shard, shard_rows
from bedrock_assets.store import Store
from bedrock_assets.verdicts import n_truncated


@dataclass(frozen=True)
class NotReady:
    """Why the table cannot be built yet."""

    missing: tuple[str, ...]
    """Shards without answers."""
    stale: tuple[str, ...]
    """Shards whose answers belong to other rows or prompts than the current ones."""

    def __str__(self) -> str:
        told = [
            f"{len(shards)} shards {what} ({', '.join(shards[:3])}{', ...' if len(shards) > 3 else ''})"  # noqa: PLR2004
            for shards, what in ((self.missing, "have no answers yet"), (self.stale, "have answers to earlier prompts"))
            if shards
        ]
        return "; ".join(told) + "; materialize prompt_shards and batch_outputs for them"


def readiness(store: Store, pipeline: Pipeline, raw: RawManifest) -> NotReady | None:
    """
    None if every shard has answers to its current prompts.

    One listing tells which shards have any; of these two small files a shard are read, many at once.
    """
    name = pipeline.spec.name
    keys = {shard.key: outputs_key(name, shard.key) for shard in raw.shards}
    there = {file.key for file in store.files(outputs_folder(name))}

    def is_stale(shard: str) -> bool:
        prompts = current_shard(store, name, shard)
        answered = store.parquet_facts(keys[shard]).get("fingerprint") == prompts.fingerprint
        return not answered or prompts.raw_revision != raw.revision

    found = [shard for shard, key in keys.items() if key in there]
    missing = tuple(shard for shard, key in keys.items() if key not in there)
    stale = tuple(shard for shard, old in zip(found, ordered(is_stale, found, N_READERS), strict=True) if old)
    return NotReady(missing, stale) if missing or stale else None


def join_table(store: Store, pipeline: Pipeline, raw: RawManifest) -> TableManifest:
    """
    Join every row with its answer, a shard at a time: memory for one shard, whatever the number of rows.

    The parts are written aside and moved to `{pipeline}/table/` when all are there; the manifest comes last.

    Raises:
        DataError: A shard's answers are not one for each of its rows; nothing was published.
    """
    name, counts, digest = pipeline.spec.name, Counter[str](), hashlib.sha256(raw.revision.encode())
    status = pipeline.answer_columns["status"]
    schema: dict[str, str] = {}
    staged: list[Part] = []
    tokens: Tokens = {}
    for index, shard in enumerate(raw.shards):
        joined = _joined(store, pipeline, raw, shard)
        counts["output_tokens"] += int(joined[pipeline.answer_columns["output_tokens"]].sum() or 0)
        counts["truncated"] += n_truncated(joined[pipeline.answer_columns["stop_reason"]], pipeline.family)
        counts.update(dict(joined[status].cast(pl.String).value_counts().iter_rows()))
        schema = schema or {column: str(dtype) for column, dtype in joined.schema.items()}
        key = f"{name}/table-incoming/part-{index:05d}.parquet"
        with store.writer(key) as file:
            write_frames([joined], file)
        facts = OutputFacts.model_validate(store.parquet_facts(outputs_key(name, shard.key)))
        digest.update(json.dumps([facts.fingerprint, facts.version]).encode())
        tokens = add(tokens, facts.tokens)
        staged.append(Part(key=key, n_rows=len(joined), n_bytes=store.size(key)))
    manifest = TableManifest(
        revision=digest.hexdigest()[:16],
        n_rows=sum(part.n_rows for part in staged),
        n_ok=counts["ok"],
        n_error=counts["error"],
        n_missing=counts["missing"],
        n_truncated=counts["truncated"],
        tokens=dict(tokens),
        mean_output_tokens=counts["output_tokens"] / counts["ok"] if counts["output_tokens"] and counts["ok"] else None,
        columns=schema,
        parts=tuple(part.model_copy(update={"key": table_part_key(name, i)}) for i, part in enumerate(staged)),
    )
    _publish(store, name, staged, manifest)
    return manifest


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


def _publish(store: Store, name: str, staged: list[Part], manifest: TableManifest) -> None:
    for part, final in zip(staged, manifest.parts, strict=True):
        store.move(part.key, final.key)
    current = {part.key for part in manifest.parts}
    store.delete([f.key for f in store.files(f"{name}/table") if f.key.endswith(".parquet") and f.key not in current])
    store.write_model(table_manifest_key(name), manifest)
