"""Asset checks: what is promised of the table is proven on the table, from the files alone."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from bedrock_assets.canary import verdict
from bedrock_assets.pipeline import Pipeline
from bedrock_assets.records import (
    RawManifest,
    Shard,
    TableManifest,
    outputs_key,
    raw_manifest_key,
    table_manifest_key,
)
from bedrock_assets.resources import StoreResource
from bedrock_assets.shards import shard_rows
from bedrock_assets.store import Store
from bedrock_assets.task_spec import ClassifyTask

Facts = dict[str, int]
PARTITION_TAG = "dagster/partition"
CONSERVATION = "every_row_has_one_outcome"
ERROR_SHARE = "error_share"
CANARY = "canary"
LABELS = "label_shares"
WARN_LABEL = 0.95
"""Above this share of one label the check warns, where no share is said to be expected."""
WARN_SHARE = 0.01
"""Above this share of rows without an answer the check warns."""


def build_checks(pipeline: Pipeline) -> list[dg.AssetChecksDefinition]:
    """The checks of `batch_outputs`, for the run's shard, and of `joined_table`."""
    canary = [_canary_check(pipeline)] if pipeline.spec.canary else []
    labels = [_label_check(pipeline, pipeline.spec.task.classify)] if pipeline.spec.task.classify else []
    return [_shard_check(pipeline), _table_checks(pipeline), *canary, *labels]


def _label_check(pipeline: Pipeline, task: ClassifyTask) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        name=LABELS,
        asset=dg.AssetKey([pipeline.spec.name, "joined_table"]),
        description=f"Each label has the share of rows that `shares` says; without it, at most {WARN_LABEL:.0%}.",
    )
    def label_check(store: StoreResource) -> dg.AssetCheckResult:
        opened = store.open()
        manifest = opened.read_model(table_manifest_key(pipeline.spec.name), TableManifest)
        if manifest is None:
            return dg.AssetCheckResult(passed=False, metadata={"missing": "joined_table"})
        shares = label_shares(opened, pipeline, task, manifest)
        odd = [
            f"{label}: {share:.1%} is not within {low:.1%} and {high:.1%}"
            for label, share in shares.items()
            for low, high in [task.shares.get(label, (0.0, 1.0) if task.shares else (0.0, WARN_LABEL))]
            if not low <= share <= high
        ]
        return dg.AssetCheckResult(
            passed=not odd,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(odd) or None,
            metadata={f"share {label}": share for label, share in shares.items()},
        )

    return label_check


def label_shares(store: Store, pipeline: Pipeline, task: ClassifyTask, manifest: TableManifest) -> dict[str, float]:
    """Of each label, the share of the answered rows that have it, 0 to 1; the labels are read, and nothing else."""
    prefix = pipeline.spec.output_prefix
    parts = store.scan_parquet([part.key for part in manifest.parts]).filter(pl.col(prefix + "status") == "ok")
    label = pl.col(prefix + "labels").list.unique().explode() if task.several else pl.col(prefix + "label")
    counts = dict(parts.select(label.alias("label")).group_by("label").len().collect(engine="streaming").iter_rows())
    return {label: counts.get(label, 0) / max(1, manifest.n_ok) for label in task.labels}


def _canary_check(pipeline: Pipeline) -> dg.AssetChecksDefinition:
    name = pipeline.spec.name

    @dg.asset_check(
        name=CANARY,
        asset=dg.AssetKey([name, "batch_outputs"]),
        description="The answers of the canary, the first shard, keep the thresholds; else no other shard is sent.",
    )
    def canary_check(store: StoreResource) -> dg.AssetCheckResult:
        opened = store.open()
        raw = opened.read_model(raw_manifest_key(name), RawManifest)
        found = verdict(opened, pipeline, raw.shards[0].key) if raw else None
        if found is None:
            return dg.AssetCheckResult(passed=False, metadata={"missing": "answers of the canary"})
        facts = {"n_rows": found.n_rows, "error_rate": found.error_rate}
        facts |= {"mean_output_tokens": found.mean_output_tokens}
        return dg.AssetCheckResult(passed=found.passed, description="; ".join(found.reasons) or None, metadata=facts)

    return canary_check


def _shard_check(pipeline: Pipeline) -> dg.AssetChecksDefinition:
    name = pipeline.spec.name

    @dg.asset_check(
        name=CONSERVATION,
        asset=dg.AssetKey([name, "batch_outputs"]),
        description="One outcome for each row of the shard that was collected last, or of all shards.",
    )
    def shard_check(context: dg.AssetCheckExecutionContext, store: StoreResource) -> dg.AssetCheckResult:
        opened = store.open()
        raw = opened.read_model(raw_manifest_key(name), RawManifest)
        key = context.run.tags.get(PARTITION_TAG)
        shards = [shard for shard in raw.shards if key in (None, shard.key)] if raw else []
        facts = [shard_facts(opened, pipeline, raw, shard) for shard in shards if raw]
        total = {fact: sum(found[fact] for found in facts) for fact in facts[0]} if facts else {}
        return dg.AssetCheckResult(passed=bool(facts) and conserved(total), metadata=total | {"n_shards": len(facts)})

    return shard_check


def _table_checks(pipeline: Pipeline) -> dg.AssetChecksDefinition:
    table = dg.AssetKey([pipeline.spec.name, "joined_table"])

    @dg.multi_asset_check(
        name=f"{pipeline.spec.name}__table_checks",
        specs=[
            dg.AssetCheckSpec(
                CONSERVATION, asset=table, description="Rows in = rows out: every input row once, with a status."
            ),
            dg.AssetCheckSpec(
                ERROR_SHARE, asset=table, description=f"At most {WARN_SHARE:.0%} of the rows have no answer."
            ),
        ],
    )
    def table_checks(store: StoreResource) -> Iterator[dg.AssetCheckResult]:
        opened, name = store.open(), pipeline.spec.name
        raw = opened.read_model(raw_manifest_key(name), RawManifest)
        manifest = opened.read_model(table_manifest_key(name), TableManifest)
        if raw is None or manifest is None:
            missing = {"missing": "raw_dataset" if raw is None else "joined_table"}
            for check in (CONSERVATION, ERROR_SHARE):
                yield dg.AssetCheckResult(passed=False, check_name=check, asset_key=table, metadata=missing)
            return
        facts = conservation_facts(opened, pipeline, raw, manifest)
        yield dg.AssetCheckResult(passed=conserved(facts), check_name=CONSERVATION, asset_key=table, metadata=facts)
        share = 1 - manifest.n_ok / manifest.n_rows
        yield dg.AssetCheckResult(
            passed=share <= WARN_SHARE,
            check_name=ERROR_SHARE,
            asset_key=table,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"error_rate": share, "n_error": manifest.n_error, "n_missing": manifest.n_missing},
        )

    return table_checks


def conservation_facts(store: Store, pipeline: Pipeline, raw: RawManifest, manifest: TableManifest) -> Facts:
    """
    Compare the table's files with the dataset's, part by part, so that memory holds two parts.

    Returns:
        n_rows_in, n_rows_out, n_lost (rows of the dataset that are not where they belong), n_without_status.
    """
    total = {"n_rows_in": raw.n_rows, "n_rows_out": 0, "n_lost": 0, "n_without_status": 0}
    for shard, part in zip(raw.shards, manifest.parts, strict=False):
        found = _compare(store, pipeline, raw, shard, part.key)
        total = {name: count + found[name] * (name != "n_rows_in") for name, count in total.items()}
    surplus = sum(part.n_rows for part in manifest.parts[len(raw.shards) :])
    return total | {"n_rows_out": total["n_rows_out"] + surplus}


def shard_facts(store: Store, pipeline: Pipeline, raw: RawManifest, shard: Shard) -> Facts:
    """The same for one shard's answers."""
    key = outputs_key(pipeline.spec.name, shard.key)
    if not store.exists(key):
        return {"n_rows_in": shard.n_rows, "n_rows_out": 0, "n_lost": shard.n_rows, "n_without_status": 0}
    return _compare(store, pipeline, raw, shard, key)


def conserved(facts: Facts) -> bool:
    """Whether the facts show every row once, with a status."""
    return facts["n_rows_in"] == facts["n_rows_out"] and not facts["n_lost"] and not facts["n_without_status"]


def _compare(store: Store, pipeline: Pipeline, raw: RawManifest, shard: Shard, key: str) -> Facts:
    record_id, status = pipeline.record_id, pipeline.answer_columns["status"]
    ids = shard_rows(store, raw, shard).select(record_id).collect()
    rows = store.scan_parquet([key]).select(record_id, status).collect()
    known = pl.col(status).is_in(["ok", "error", "missing"]).fill_null(value=False)
    return {
        "n_rows_in": len(ids),
        "n_rows_out": len(rows),
        "n_lost": len(ids.join(rows, on=record_id, how="anti")),
        "n_without_status": len(rows.filter(~known)),
    }
