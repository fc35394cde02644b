"""
What Dagster shows of a materialization, in the order in which a page lists it.

First where the data is and how to open it; then rows, errors, cost and tokens in words; then a sample; then the numbers
that Dagster plots; what only this package reads comes last. Plots are drawn of every number, so a rare count is a
number only where it is not 0; `rows` says in words that there is none.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl

from bedrock_assets.assets.columns import answers_lineage, column_schema, raw_lineage, table_lineage
from bedrock_assets.assets.sample import columns_for_people, never_fails, quoted, records_of, sample_of
from bedrock_assets.assets.words import (
    Outcome,
    cost_in_words,
    costs,
    not_zero,
    open_with,
    pace,
    times,
    token_counts,
    tokens_in_words,
)
from bedrock_assets.aws.job import Job
from bedrock_assets.columns import column
from bedrock_assets.config.workload import WorkloadSpec
from bedrock_assets.jobs.attempts import ShardAttempts
from bedrock_assets.jobs.ledger import Entry
from bedrock_assets.outputs.collect import Collected
from bedrock_assets.outputs.outcomes import n_truncated
from bedrock_assets.pipeline.ids import RECORD_ID
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.redact import shown_to_people
from bedrock_assets.pipeline.workload import CIRCUMSTANCES, Workload
from bedrock_assets.shards.format import shard_rows
from bedrock_assets.storage.keys import outputs_key
from bedrock_assets.storage.manifests import InferenceMode, RawManifest, ReusedFrom, ShardManifest, TableManifest
from bedrock_assets.storage.store import Store
from bedrock_assets.table.preferences import VERDICTS, Preferences
from bedrock_assets.units import counted, duration, significant, size

Metadata = dict[str, Any]
SAMPLE_ROWS = 3
_LOOKED_AT = 10
"""Rows among which the first prompt is looked for."""
MEAN_OUTPUT = "mean_output_tokens"
_ABOUT_CALLS = ("stop_reason", "input_tokens", "output_tokens", *sorted(CIRCUMSTANCES))
"""Answer columns that a sample leaves out."""


def shared_metadata(spec: WorkloadSpec, kinds: set[str]) -> dict[str, Any]:
    """Arguments that all assets of a pipeline or an inbox share."""
    return {
        "group_name": spec.group_name or spec.name,
        "owners": list(spec.owners),
        "tags": spec.asset_tags,
        "kinds": kinds | {*spec.kinds},
    }


@never_fails
def raw_metadata(
    pipeline: Pipeline, store: Store, manifest: RawManifest, upstream: dg.AssetKey | None = None
) -> Metadata:
    """
    Metadata of `raw_dataset`.

    Args:
        upstream: Key of the table that is read, if it is an asset.
    """
    columns = {**manifest.columns, manifest.record_id: "String"}
    shown = columns_for_people(columns, pipeline.records.columns, (), ())
    first = shard_rows(store, manifest, manifest.shards[0], manifest.record_id, _first_rows(shown))
    n_left_out = manifest.n_rows - manifest.n_sendable
    left_out = f", of which {n_left_out:,} make no prompt and will be error rows" if n_left_out else ""
    return {
        "dagster/uri": store.path(f"{pipeline.spec.name}/raw/manifest.json"),
        "source": manifest.source,
        "dagster/row_count": manifest.n_rows,
        "rows": f"{counted(manifest.n_rows, 'row')}{left_out}, in {counted(len(manifest.shards), 'shard')}",
        "prompt_size": size(manifest.prompt_bytes),
        "sample": records_of(shown_to_people(pipeline.spec.redact, first)),
        "n_shards": len(manifest.shards),
        "n_sendable": manifest.n_sendable,
        "prompt_bytes": manifest.prompt_bytes,
        "dagster/column_schema": column_schema(pipeline.workload, columns),
        **raw_lineage(pipeline, manifest.columns, upstream),
    }


@never_fails
def shard_metadata(pipeline: Pipeline, store: Store, raw: RawManifest, manifest: ShardManifest) -> Metadata:
    """Metadata of one partition of `prompt_shards`."""
    rows = shard_rows(store, raw, manifest.shard, pipeline.record_id, lambda rows: rows.head(_LOOKED_AT))
    texts = pipeline.records.texts(rows).drop_nulls()
    counts = {
        "n_rejected": manifest.n_rejected,
        "n_padding": manifest.n_padding,
        "n_reused": manifest.n_reused,
        "n_duplicates": manifest.n_duplicates,
    }
    told = [
        f"{counted(manifest.n_records, 'record')} to send{_padded(manifest.n_padding)}",
        f"{manifest.n_rejected:,} without a prompt",
        f"{manifest.n_reused:,} answered elsewhere",
        f"{manifest.n_duplicates:,} like another row",
    ]
    return {
        "dagster/uri": store.path(manifest.prompts),
        "dagster/row_count": manifest.n_records,
        "rows": ", ".join(told),
        "size": size(manifest.n_bytes),
        "model": manifest.model,
        **({"redacted": redacted_in_words(manifest.n_redacted)} if manifest.n_redacted else {}),
        **({} if texts.is_empty() else {"first_prompt": quoted(texts[0])}),
        **not_zero(counts),
        **not_zero({f"n_redacted_{kind}": n for kind, n in manifest.n_redacted.items()}),
        "n_bytes": manifest.n_bytes,
        "sha256": manifest.sha256,
    }


@never_fails
def answers_metadata(
    attempts: ShardAttempts, collected: Collected, job: Job | None, entry: Entry, job_page: str | None = None
) -> Metadata:
    """
    Metadata of one partition of `batch_outputs`; numbers are named for Dagster's plots.

    Args:
        job_page: URL where people look at the job.
    """
    workload, shard, rows, request = attempts.workload, attempts.shard, collected.rows, entry.request
    uri = attempts.store.path(outputs_key(workload.spec.name, shard.shard.key, shard.folder))
    paid = rows.filter(pl.col("answer_source").is_in([mode.value for mode in InferenceMode]))
    n_by_source = dict(rows["answer_source"].value_counts().iter_rows())
    outcome = Outcome(
        collected.count("ok"),
        collected.count("error"),
        collected.count("missing"),
        n_truncated(rows["stop_reason"], workload.family),
    )
    cost = costs(workload.spec, collected.tokens)
    estimate = {"estimated_cost_usd": significant(request.estimated_usd)} if request.estimated_usd else {}
    took = times(job, entry) if job else {}
    metadata: Metadata = {
        "dagster/uri": uri,
        "open_with": open_with(uri),
        "dagster/row_count": len(rows),
        "rows": str(outcome),
        **({"frequent_errors": sample_of(collected.frequent_errors)} if len(collected.frequent_errors) else {}),
        "cost": cost_in_words(cost, request.estimated_usd),
        "tokens": tokens_in_words(collected.tokens),
        **{name: duration(took[of]) for name, of in (("waited", "queue_s"), ("ran", "run_s")) if of in took},
        **({"job_status": job.status.value} if job else {}),
        **({"job_console": dg.MetadataValue.url(job_page)} if job_page else {}),
        **_answers_sample(workload, rows),
        **outcome.numbers,
        **not_zero(
            {
                "n_on_demand": n_by_source.get(InferenceMode.ON_DEMAND.value, 0),
                "n_reused": n_by_source.get(ReusedFrom.CACHE.value, 0),
                "n_duplicates": n_by_source.get(ReusedFrom.DUPLICATE.value, 0),
                "n_unknown_ids": collected.n_unknown,
                "n_unreadable_lines": collected.n_unreadable,
            }
        ),
        **token_counts(collected.tokens, len(paid)),
        **{name: value for name, value in cost.items() if name != "cost"},
        **estimate,
        **took,
        **({"records_per_min": pace(entry, took["run_s"])} if "run_s" in took else {}),
        "dagster/column_schema": column_schema(workload, _published(workload, rows)),
        **answers_lineage(workload),
    }
    if collected.difference:
        metadata["manifest_difference"] = collected.difference
    return metadata


def ledger_facts(attempts: ShardAttempts, job: Job | None, entry: Entry) -> Metadata:
    """What this package reads back from a materialization of `batch_outputs`, and people have no use for."""
    request = entry.request
    return {
        # Without it a reader takes it for the first.
        **({"attempt": request.attempt} if request.attempt > 1 else {}),
        **({"target": request.where} if request.where else {}),
        "request_id": str(request.storage_id),  # a number would be plotted
        "fingerprint": attempts.shard.fingerprint,
        **({"job_arn": job.arn} if job else {}),
    }


def redacted_in_words(counts: Mapping[str, int]) -> str:
    """How many values were replaced."""
    return ", ".join(f"{n:,} {kind}" for kind, n in counts.items() if n) or "nothing was found"


def _padded(n_padding: int) -> str:
    return f" ({n_padding:,} of them copies that make the job large enough)" if n_padding else ""


def _first_rows(names: Sequence[str]) -> Callable[[pl.LazyFrame], pl.LazyFrame]:
    return lambda rows: rows.select(map(column, names)).head(SAMPLE_ROWS)


def _answers_sample(workload: Workload, rows: pl.DataFrame) -> Metadata:
    """A table of the first rows, and the first answer in full, as far as there is room for it."""
    fields = tuple(workload.schema.fields) if workload.schema else ()
    failed = ("error_message",) if rows["status"].head(SAMPLE_ROWS).ne("ok").any() else ()
    wanted = [
        RECORD_ID,
        "status",
        *(fields or [name for name in ("response", "embedding") if name in rows.columns]),
        *failed,
    ]
    texts = rows["response"].drop_nulls() if "response" in rows.columns else pl.Series(dtype=pl.String)
    first = {} if texts.is_empty() else {"first_answer": quoted(texts[0])}
    return {"sample": records_of(rows.select(map(column, wanted)).head(SAMPLE_ROWS)), **first}


def _published(workload: Workload, rows: pl.DataFrame) -> dict[str, str]:
    """Names and dtypes of the columns, as they are in the file."""
    names = {RECORD_ID: workload.record_id, **workload.answer_columns}
    return {names.get(name, name): str(dtype) for name, dtype in rows.schema.items()}


@never_fails
def table_metadata(pipeline: Pipeline, store: Store, manifest: TableManifest) -> Metadata:
    """Metadata of `joined_table`."""
    n_bytes = sum(part.n_bytes for part in manifest.parts)
    outcome = Outcome(manifest.n_ok, manifest.n_error, manifest.n_missing, manifest.n_truncated)
    cost, folder = costs(pipeline.spec, manifest.tokens), store.path(f"{pipeline.spec.name}/table")
    return {
        "table": dg.MetadataValue.path(folder),  # the overview hides the next one, which other tools read
        "dagster/uri": folder,
        "open_with": open_with(f"{folder}/*.parquet"),
        "dagster/row_count": manifest.n_rows,
        "rows": str(outcome),
        "cost": cost["cost"],
        "tokens": tokens_in_words(manifest.tokens),
        "size": size(n_bytes),
        "sample": _table_sample(pipeline, store, manifest),
        **outcome.numbers,
        **({} if manifest.mean_output_tokens is None else {MEAN_OUTPUT: significant(manifest.mean_output_tokens)}),
        **token_counts(manifest.tokens),
        **{name: value for name, value in cost.items() if name != "cost"},
        "n_bytes": n_bytes,
        "n_parts": len(manifest.parts),
        "dagster/column_schema": column_schema(pipeline.workload, manifest.columns),
        **table_lineage(pipeline.workload, manifest.columns),
    }


def _table_sample(pipeline: Pipeline, store: Store, manifest: TableManifest) -> dg.MarkdownMetadataValue:
    names, schema = pipeline.workload.answer_columns, pipeline.schema
    answer = ("status", *(schema.fields if schema else ("response", "embedding")), "error_message")
    hidden = {names[name] for name in (*_ABOUT_CALLS, *(("response",) if schema else ())) if name in names}
    hidden |= {names["error_code"]} | ({names["error_message"]} if manifest.n_ok == manifest.n_rows else set[str]())
    shown = columns_for_people(
        manifest.columns, pipeline.records.columns, [names[name] for name in answer if name in names], hidden
    )
    rows = store.read_parquet(manifest.parts[0].key, _first_rows(shown))
    return records_of(shown_to_people(pipeline.spec.redact, rows))


@never_fails
def preferences_metadata(pipeline: Pipeline, store: Store, preferences: Preferences) -> Metadata:
    """Metadata of `preferences`."""
    rows = store.read_parquet(preferences.key, lambda rows: rows.head(SAMPLE_ROWS))
    return {
        "dagster/uri": store.path(preferences.key),
        "open_with": open_with(store.path(preferences.key)),
        "dagster/row_count": preferences.n_pairs,
        "sample": sample_of(shown_to_people(pipeline.spec.redact, rows)),
        **{f"n_{verdict}": preferences.verdicts[verdict] for verdict in VERDICTS},
        "first_share": significant(preferences.n_first / max(1, preferences.n_answers)),
    }
