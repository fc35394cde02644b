"""Asset checks: what is promised of the table is proven on the table, from the files alone."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from bedrock_assets.pipeline import Pipeline
from bedrock_assets.records import RawManifest, TableManifest, raw_manifest_key, table_manifest_key
from bedrock_assets.resources import StoreResource
from bedrock_assets.shards import shard_rows
from bedrock_assets.store import Store

CONSERVATION = "every_row_has_one_outcome"
ERROR_SHARE = "error_share"
WARN_SHARE = 0.01
"""Above this share of rows without an answer the check warns."""


def build_checks(pipeline: Pipeline) -> list[dg.AssetChecksDefinition]:
    """The checks of `joined_table`."""
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

    return [table_checks]


def conservation_facts(store: Store, pipeline: Pipeline, raw: RawManifest, manifest: TableManifest) -> dict[str, int]:
    """
    Compare the table's files with the dataset's, part by part, so that memory holds two parts.

    Returns:
        n_rows_in, n_rows_out, n_not_in_table (rows of the dataset that are not where they belong in the table),
        n_without_status.
    """
    n_out = n_lost = n_without = 0
    status = pipeline.answer_columns["status"]
    for shard, part in zip(raw.shards, manifest.parts, strict=False):
        ids = shard_rows(store, raw, shard).select(pipeline.record_id).collect()
        rows = store.scan_parquet([part.key]).select(pipeline.record_id, status).collect()
        n_out += len(rows)
        n_lost += len(ids.join(rows.unique(pipeline.record_id), on=pipeline.record_id, how="anti"))
        n_without += len(rows.filter(~pl.col(status).is_in(["ok", "error", "missing"]) | pl.col(status).is_null()))
    return {"n_rows_in": raw.n_rows, "n_rows_out": n_out, "n_not_in_table": n_lost, "n_without_status": n_without}


def conserved(facts: dict[str, int]) -> bool:
    """Whether the facts show every row once, with a status."""
    return facts["n_rows_in"] == facts["n_rows_out"] and not facts["n_not_in_table"] and not facts["n_without_status"]
