"""Asset checks: they prove what the table promises, from the files alone."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import polars as pl

from bedrock_assets.assets.gold import agreement_facts, build_gold_check
from bedrock_assets.assets.metadata import MEAN_OUTPUT
from bedrock_assets.columns import column
from bedrock_assets.config.task import ClassifyTask
from bedrock_assets.jobs.canary import CanaryResult, answered_canary, canary_result
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.resources.store import StoreResource
from bedrock_assets.storage.keys import raw_manifest_key, table_manifest_key
from bedrock_assets.storage.manifests import Part, RawManifest, TableManifest
from bedrock_assets.storage.store import Store
from bedrock_assets.table.conservation import conservation_facts, conserved, shard_facts
from bedrock_assets.threads import N_READERS, map_ordered
from bedrock_assets.units import significant

PARTITION_TAG = "dagster/partition"
CONSERVATION = "every_row_has_one_outcome"
ERROR_SHARE = "error_share"
CANARY = "canary"
LABELS = "label_shares"
WARN_LABEL = 0.95
"""Above this share of one label the check warns, where no share is said to be expected."""
SCHEMA = "columns"
DRIFT = "length_of_answers"
DRIFT_FACTOR = 1.5


def build_checks(pipeline: Pipeline) -> list[dg.AssetChecksDefinition]:
    """The checks of `batch_outputs`, for the run's shard, and of `joined_table`."""
    canary = [_canary_check(pipeline)] if pipeline.spec.canary else []
    labels = [_label_check(pipeline, pipeline.spec.task.classify)] if pipeline.spec.task.classify else []
    gold = [build_gold_check(pipeline, pipeline.gold)] if pipeline.gold else []
    return [_shard_check(pipeline), _table_checks(pipeline), *canary, *labels, *gold]


def _label_check(pipeline: Pipeline, task: ClassifyTask) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        name=LABELS,
        asset=dg.AssetKey(pipeline.spec.key_of("joined_table")),
        description=f"Each label has the share of rows that `shares` says; without it, at most {WARN_LABEL:.0%}.",
    )
    def label_check(bedrock_batch_store: StoreResource) -> dg.AssetCheckResult:
        opened = bedrock_batch_store.open()
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
            metadata={f"share {label}": significant(share) for label, share in shares.items()},
        )

    return label_check


def label_shares(store: Store, pipeline: Pipeline, task: ClassifyTask, manifest: TableManifest) -> dict[str, float]:
    """Of each label, the share of the answered rows that have it, 0 to 1; the labels are read, and nothing else."""
    prefix = pipeline.spec.output_prefix
    label = column(prefix + "labels").list.unique().explode() if task.several else column(prefix + "label")

    def count(rows: pl.LazyFrame) -> pl.LazyFrame:
        answered = rows.filter(column(prefix + "status") == "ok")
        return answered.select(label.alias("label")).group_by("label").len()

    counts = dict(store.read_parquet([part.key for part in manifest.parts], count, streaming=True).iter_rows())
    return {label: counts.get(label, 0) / max(1, manifest.n_ok) for label in task.labels}


def _canary_check(pipeline: Pipeline) -> dg.AssetChecksDefinition:
    name = pipeline.spec.name

    @dg.asset_check(
        name=CANARY,
        asset=dg.AssetKey(pipeline.spec.key_of("batch_outputs")),
        description="The answers of the canary, the first shard, keep the thresholds; else no other shard is sent.",
    )
    def canary_check(bedrock_batch_store: StoreResource) -> dg.AssetCheckResult:
        opened = bedrock_batch_store.open()
        raw = opened.read_model(raw_manifest_key(name), RawManifest)
        canary = answered_canary(opened, name, raw.shards[0].key) if raw else None
        if canary is None:
            return dg.AssetCheckResult(passed=False, metadata={"missing": "answers of the canary"})
        result = canary_result(opened, pipeline.workload, canary)
        facts = canary_facts(result)
        return dg.AssetCheckResult(passed=result.passed, description="; ".join(result.reasons) or None, metadata=facts)

    return canary_check


def canary_facts(result: CanaryResult) -> dict[str, Any]:
    """What a canary's answers show, as numbers."""
    mean = result.mean_output_tokens
    return {
        "n_rows": result.n_rows,
        "error_rate": significant(result.error_rate),
        "mean_output_tokens": "unknown" if mean is None else significant(mean),
        **(agreement_facts(result.agreement) if result.agreement else {}),
    }


def _shard_check(pipeline: Pipeline) -> dg.AssetChecksDefinition:
    name = pipeline.spec.name

    @dg.asset_check(
        name=CONSERVATION,
        asset=dg.AssetKey(pipeline.spec.key_of("batch_outputs")),
        description="One outcome for each row of the shard that was collected last, or of all shards.",
    )
    def shard_check(context: dg.AssetCheckExecutionContext, bedrock_batch_store: StoreResource) -> dg.AssetCheckResult:
        opened = bedrock_batch_store.open()
        raw = opened.read_model(raw_manifest_key(name), RawManifest)
        key = context.run.tags.get(PARTITION_TAG)
        shards = [shard for shard in raw.shards if key in (None, shard.key)] if raw else []
        facts = [shard_facts(opened, pipeline, raw, shard) for shard in shards if raw]
        total = {name: sum(counts[name] for counts in facts) for name in facts[0]} if facts else {}
        return dg.AssetCheckResult(passed=bool(facts) and conserved(total), metadata=total | {"n_shards": len(facts)})

    return shard_check


def _table_checks(pipeline: Pipeline) -> dg.AssetChecksDefinition:
    table, rates = dg.AssetKey(pipeline.spec.key_of("joined_table")), pipeline.spec.error_rate
    described = {
        CONSERVATION: "Rows in = rows out: every input row once, with a status.",
        SCHEMA: "Every part of the table has the columns that its manifest says.",
        ERROR_SHARE: f"At most {rates.warn:.0%} of the rows have no answer; above {rates.fail:.0%} it is an error.",
        DRIFT: f"Answers are at most {DRIFT_FACTOR:g} times as long, or as short, as in the table before.",
    }
    specs = [
        dg.AssetCheckSpec(name, asset=table, description=text, blocking=name in (CONSERVATION, SCHEMA))
        for name, text in described.items()
    ]

    @dg.multi_asset_check(name=f"{pipeline.spec.name}__table_checks", specs=specs)
    def table_checks(
        context: dg.AssetCheckExecutionContext, bedrock_batch_store: StoreResource
    ) -> Iterator[dg.AssetCheckResult]:
        opened, name = bedrock_batch_store.open(), pipeline.spec.name
        raw = opened.read_model(raw_manifest_key(name), RawManifest)
        manifest = opened.read_model(table_manifest_key(name), TableManifest)
        if raw is None or manifest is None:
            missing = {"missing": "raw_dataset" if raw is None else "joined_table"}
            for check in described:
                yield dg.AssetCheckResult(passed=False, check_name=check, asset_key=table, metadata=missing)
            return
        facts = conservation_facts(opened, pipeline, raw, manifest)
        yield dg.AssetCheckResult(passed=conserved(facts), check_name=CONSERVATION, asset_key=table, metadata=facts)
        odd = odd_parts(opened, manifest)
        yield dg.AssetCheckResult(
            passed=not odd, check_name=SCHEMA, asset_key=table, metadata={"n_parts": len(manifest.parts), "odd": odd}
        )
        share = 1 - manifest.n_ok / manifest.n_rows
        yield dg.AssetCheckResult(
            passed=share <= rates.warn,
            check_name=ERROR_SHARE,
            asset_key=table,
            severity=dg.AssetCheckSeverity.ERROR if share > rates.fail else dg.AssetCheckSeverity.WARN,
            metadata={"error_rate": significant(share), "n_error": manifest.n_error, "n_missing": manifest.n_missing},
        )
        yield drift(table, manifest.mean_output_tokens, _means(context.instance, table))

    return table_checks


def odd_parts(store: Store, manifest: TableManifest) -> list[str]:
    """Keys of the parts whose columns differ from the manifest's."""

    def columns(part: Part) -> dict[str, str]:
        schema = store.read_parquet(part.key, lambda rows: rows.head(0)).schema
        return {name: str(dtype) for name, dtype in schema.items()}

    actual = zip(manifest.parts, map_ordered(columns, manifest.parts, N_READERS), strict=True)
    return [part.key for part, dtypes in actual if dtypes != manifest.columns]


def drift(table: dg.AssetKey, mean: float | None, means: Sequence[float]) -> dg.AssetCheckResult:
    """
    Args:
        mean: Output tokens of an answer, in this table.
        means: The same of the tables so far, the latest first; this one may be the first.
    """
    mean = None if mean is None else significant(mean)  # as those of the tables so far
    before = next((earlier for earlier in means if earlier != mean), mean)
    factor = mean / before if mean and before else 1.0
    return dg.AssetCheckResult(
        passed=1 / DRIFT_FACTOR <= factor <= DRIFT_FACTOR,
        check_name=DRIFT,
        asset_key=table,
        severity=dg.AssetCheckSeverity.WARN,
        description=None if mean and before else "nothing to compare",
        metadata={
            "mean_output_tokens": "unknown" if mean is None else mean,
            "before": "unknown" if before is None else significant(before),
            "factor": significant(factor),
        },
    )


def _means(instance: dg.DagsterInstance, table: dg.AssetKey) -> list[float]:
    records = instance.fetch_materializations(table, limit=2).records
    facts = [record.asset_materialization.metadata for record in records if record.asset_materialization]
    return [float(str(metadata[MEAN_OUTPUT].value)) for metadata in facts if MEAN_OUTPUT in metadata]
