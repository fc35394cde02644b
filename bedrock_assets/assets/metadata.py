"""What Dagster shows of a materialization: counts, sizes, schemas, samples."""

from typing import Any

import dagster as dg
import polars as pl

from bedrock_assets.assets.columns import answers_lineage, column_schema, raw_lineage, table_lineage
from bedrock_assets.assets.sample import never_fails, sample_of
from bedrock_assets.assets.units import duration, significant, size
from bedrock_assets.aws.job import Job
from bedrock_assets.config.pipeline import WorkloadSpec
from bedrock_assets.jobs.attempts import ShardAttempts
from bedrock_assets.jobs.ledger import Entry, RequestState
from bedrock_assets.outputs.collect import Collected
from bedrock_assets.outputs.outcomes import n_truncated
from bedrock_assets.pipeline.ids import RECORD_ID
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.prices import NO_PRICE, NO_TOKENS, Tokens, price_of, total_of, usd
from bedrock_assets.shards.format import shard_rows
from bedrock_assets.storage.keys import outputs_key
from bedrock_assets.storage.manifests import InferenceMode, RawManifest, ReusedFrom, ShardManifest, TableManifest
from bedrock_assets.storage.store import Store
from bedrock_assets.table.preferences import VERDICTS, Preferences

Metadata = dict[str, Any]
SAMPLE_ROWS = 5
MEAN_OUTPUT = "mean_output_tokens"


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
    return {
        "dagster/row_count": manifest.n_rows,
        "dagster/uri": store.path(f"{pipeline.spec.name}/raw/manifest.json"),
        "dagster/column_schema": column_schema(pipeline.workload, columns),
        **raw_lineage(pipeline, manifest.columns, upstream),
        "source": manifest.source,
        "n_shards": len(manifest.shards),
        "n_sendable": manifest.n_sendable,
        "prompt_bytes": manifest.prompt_bytes,
        "prompt_size": size(manifest.prompt_bytes),
        "revision": manifest.revision,
        "sample": sample_of(shard_rows(store, manifest, manifest.shards[0], lambda rows: rows.head(SAMPLE_ROWS))),
    }


@never_fails
def shard_metadata(store: Store, manifest: ShardManifest) -> Metadata:
    """Metadata of one partition of `prompt_shards`."""
    return {
        "dagster/row_count": manifest.n_records,
        "dagster/uri": store.path(manifest.prompts),
        "n_rejected": manifest.n_rejected,
        "n_padding": manifest.n_padding,
        "n_reused": manifest.n_reused,
        "n_duplicates": manifest.n_duplicates,
        "n_bytes": manifest.n_bytes,
        "size": size(manifest.n_bytes),
        "sha256": manifest.sha256,
        "fingerprint": manifest.fingerprint,
        "raw_revision": manifest.raw_revision,
        "model": manifest.model,
        "first_record": dg.MetadataValue.md(f"```json\n{_first_line(store, manifest.prompts)}\n```"),
    }


@never_fails
def answers_metadata(attempts: ShardAttempts, collected: Collected, job: Job | None, entry: Entry) -> Metadata:
    """Metadata of one partition of `batch_outputs`; numbers are named for Dagster's plots."""
    workload, shard, rows, request = attempts.workload, attempts.shard, collected.rows, entry.request
    paid = rows.filter(pl.col("answer_source").is_in([mode.value for mode in InferenceMode]))
    n_by_source = dict(rows["answer_source"].value_counts().iter_rows())
    metadata: Metadata = {
        "dagster/row_count": len(rows),
        "dagster/uri": attempts.store.path(outputs_key(workload.spec.name, shard.shard.key, shard.folder)),
        "dagster/column_schema": column_schema(workload, _published(workload, rows)),
        **answers_lineage(workload),
        "n_ok": collected.count("ok"),
        "n_error": collected.count("error"),
        "n_missing": collected.count("missing"),
        "n_truncated": n_truncated(rows["stop_reason"], workload.family),
        "n_on_demand": n_by_source.get(InferenceMode.ON_DEMAND.value, 0),
        "n_reused": n_by_source.get(ReusedFrom.CACHE.value, 0),
        "n_duplicates": n_by_source.get(ReusedFrom.DUPLICATE.value, 0),
        "error_rate": significant(1 - collected.count("ok") / max(1, len(rows))),
        **_tokens(collected.tokens, len(paid)),
        **_costs(workload.spec, collected.tokens),
        **({} if request.estimated_usd is None else _estimate(request.estimated_usd)),
        "attempt": request.attempt,
        **({"target": request.where} if request.where else {}),
        "request_id": request.storage_id,
        "fingerprint": shard.fingerprint,
        "sample": sample_of(rows.select(rows.columns[:3]).head(SAMPLE_ROWS)),
        **(_job_metadata(job, entry) if job else {}),
    }
    if len(collected.frequent_errors):
        metadata["frequent_errors"] = sample_of(collected.frequent_errors)
    if collected.n_unknown or collected.n_unreadable:
        metadata |= {"n_unknown_ids": collected.n_unknown, "n_unreadable_lines": collected.n_unreadable}
    if collected.difference:
        metadata["manifest_difference"] = collected.difference
    return metadata


def _tokens(tokens: Tokens, n_records: int | None = None) -> Metadata:
    """
    The counts that are known, as numbers, and in words that one is not.

    Args:
        n_records: Records that were paid for, for the mean.
    """
    total = total_of(tokens)
    facts: Metadata = {"input_tokens": total.n_input, "output_tokens": total.n_output}
    cached = {"cache_read_tokens": total.n_cache_read, "cache_write_tokens": total.n_cache_written}
    facts |= {name: n for name, n in cached.items() if n}
    if total.n_input is None or total.n_output is None:
        return {name: n for name, n in facts.items() if n is not None} | {"tokens": NO_TOKENS}
    if n_records is None:
        return facts
    return facts | {"tokens_per_record": significant((total.n_input + total.n_output) / max(1, n_records))}


def _costs(spec: WorkloadSpec, tokens: Tokens) -> Metadata:
    """The price of the tokens; where the records tell theirs, padding copies and answers that broke off tell none."""
    price = price_of(spec)
    cost_usd = price.cost_usd(tokens) if price else None
    if price is None or cost_usd is None:
        return {"cost": NO_TOKENS if price else NO_PRICE}
    return {"cost_usd": significant(cost_usd), "cost": usd(cost_usd), "price_source": price.source}


def _estimate(cost_usd: float) -> Metadata:
    return {"estimated_cost_usd": significant(cost_usd), "estimated_cost": usd(cost_usd)}


def _published(workload: Workload, rows: pl.DataFrame) -> dict[str, str]:
    """Names and dtypes of the columns, as they are in the file."""
    names = {RECORD_ID: workload.record_id, **workload.answer_columns}
    return {names.get(name, name): str(dtype) for name, dtype in rows.schema.items()}


def _job_metadata(job: Job, entry: Entry) -> Metadata:
    """`queue_s`: from the request to its submission, here; `run_s`: from then to the job's end, at Bedrock."""
    console = dg.MetadataValue.url(_console(job))
    metadata: Metadata = {"job_arn": job.arn, "job_status": job.status.value, "job_console": console}
    if entry.state is RequestState.SUBMITTED:
        waited_s = max(0.0, entry.at - entry.request.requested_at)
        metadata |= {"queue_s": round(waited_s, 1), "waited": duration(waited_s)}
    if job.ended_at:
        run_s = (job.ended_at - job.submitted_at).total_seconds()
        metadata |= {"run_s": round(run_s, 1), "ran": duration(run_s)}
        metadata["records_per_min"] = significant(entry.request.n_records * 60 / max(1.0, run_s))
    return metadata


@never_fails
def table_metadata(pipeline: Pipeline, store: Store, manifest: TableManifest) -> Metadata:
    """Metadata of `joined_table`."""
    first = store.read_parquet(manifest.parts[0].key, lambda rows: rows.head(SAMPLE_ROWS))
    n_bytes = sum(part.n_bytes for part in manifest.parts)
    return {
        "dagster/row_count": manifest.n_rows,
        "dagster/uri": store.path(f"{pipeline.spec.name}/table"),
        "dagster/column_schema": column_schema(pipeline.workload, manifest.columns),
        **table_lineage(pipeline.workload, manifest.columns),
        "n_ok": manifest.n_ok,
        "n_error": manifest.n_error,
        "n_missing": manifest.n_missing,
        "n_truncated": manifest.n_truncated,
        "error_rate": significant(1 - manifest.n_ok / manifest.n_rows),
        **({} if manifest.mean_output_tokens is None else {MEAN_OUTPUT: significant(manifest.mean_output_tokens)}),
        **_tokens(manifest.tokens),
        **_costs(pipeline.spec, manifest.tokens),
        "n_bytes": n_bytes,
        "size": size(n_bytes),
        "n_parts": len(manifest.parts),
        "sample": sample_of(first),
    }


@never_fails
def preferences_metadata(store: Store, preferences: Preferences) -> Metadata:
    """Metadata of `preferences`."""
    return {
        "dagster/row_count": preferences.n_pairs,
        "dagster/uri": store.path(preferences.key),
        **{f"n_{verdict}": preferences.verdicts[verdict] for verdict in VERDICTS},
        "first_share": significant(preferences.n_first / max(1, preferences.n_answers)),
        "sample": sample_of(store.read_parquet(preferences.key, lambda rows: rows.head(SAMPLE_ROWS))),
    }


def _first_line(store: Store, key: str) -> str:
    return next(store.chunks(key), b"").split(b"\n", 1)[0].decode("utf-8", "replace")[:2000]


def _console(job: Job) -> str:
    region = job.arn.split(":")[3]
    return f"https://{region}.console.aws.amazon.com/bedrock/home?region={region}#/batch-inference"
