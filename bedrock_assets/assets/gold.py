"""How far the table's answers agree with known ones, as Dagster shows it: metadata, and a check with thresholds."""

from typing import Any

import dagster as dg

from bedrock_assets.assets.sample import never_fails, sample_of
from bedrock_assets.columns import columns
from bedrock_assets.config.gold import GoldSpec
from bedrock_assets.outputs.agreement import (
    MAX_LABELS,
    Agreement,
    Interval,
    LabelScore,
    agreement_of,
    count_pairs,
    differing,
)
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.redact import shown_to_people
from bedrock_assets.resources.store import StoreResource
from bedrock_assets.storage.keys import table_manifest_key
from bedrock_assets.storage.manifests import TableManifest
from bedrock_assets.storage.store import Store
from bedrock_assets.units import significant

GOLD = "agrees_with_gold"
BAR = 20
SAMPLE_ROWS = 10


def build_gold_check(pipeline: Pipeline, gold: GoldSpec) -> dg.AssetChecksDefinition:
    """The check that the table's answers reach the thresholds of `gold`."""

    @dg.asset_check(
        name=GOLD,
        asset=dg.AssetKey(pipeline.spec.key_of("joined_table")),
        description=f"The answers agree with the known ones in column `{gold.column}` as far as `gold` wants.",
    )
    def gold_check(bedrock_batch_store: StoreResource) -> dg.AssetCheckResult:
        opened = bedrock_batch_store.open()
        manifest = opened.read_model(table_manifest_key(pipeline.spec.name), TableManifest)
        if manifest is None:
            return dg.AssetCheckResult(passed=False, metadata={"missing": "joined_table"})
        if absent := absent_from(manifest, gold):
            return dg.AssetCheckResult(passed=False, description=absent)
        found = table_agreement(opened, pipeline, gold, manifest)
        reasons = found.below(gold.least) or ([] if found.n else ["no row has both a known answer and the model's"])
        facts = agreement_facts(found) | {"disagreements": sample_of(_disagreements(opened, pipeline, gold, manifest))}
        return dg.AssetCheckResult(passed=not reasons, description="; ".join(reasons) or None, metadata=facts)

    return gold_check


@never_fails
def gold_metadata(pipeline: Pipeline, store: Store, manifest: TableManifest) -> dict[str, Any]:
    """Metadata of `joined_table`: the measures as numbers, which Dagster plots over time."""
    gold = pipeline.gold
    if gold is None:
        return {}
    if absent := absent_from(manifest, gold):
        return {"gold": absent}
    return agreement_facts(table_agreement(store, pipeline, gold, manifest))


def absent_from(manifest: TableManifest, gold: GoldSpec) -> str | None:
    """Why a table cannot be held against known answers: it is older than `gold`."""
    missing = [name for name in (gold.column, gold.answer or "") if name not in manifest.columns]
    return (
        f"the table has no column {missing[0]!r} yet; materialize raw_dataset and the table again" if missing else None
    )


def table_agreement(store: Store, pipeline: Pipeline, gold: GoldSpec, manifest: TableManifest) -> Agreement:
    """The agreement over the whole table; three columns are read, and rows are counted as they come."""
    answer, status = gold.answer or "", pipeline.answer_columns["status"]
    counts = store.read_parquet(
        [part.key for part in manifest.parts], lambda rows: count_pairs(rows, gold, answer, status), streaming=True
    )
    return agreement_of(counts)


def agreement_facts(found: Agreement) -> dict[str, Any]:
    """The measures, each with its interval in words, and a table of the labels."""
    facts: dict[str, Any] = {"gold_rows": found.n, "gold_unanswered": found.n_unanswered}
    for name, value, interval in found.measures:
        if value is not None:
            facts[f"gold_{name}"] = significant(value, 4)
        if interval:
            facts[f"gold_{name}_95"] = _words(interval)
    if 0 < len(found.labels) <= MAX_LABELS:
        facts["gold_labels"] = dg.MetadataValue.md(_label_table(found.labels))
        facts["gold_confusion"] = dg.MetadataValue.md(_confusion(found))
    return facts


def _words(interval: Interval) -> str:
    return f"{interval.low:.3f} to {interval.high:.3f}, 95 % confidence"


def _label_table(labels: list[LabelScore]) -> str:
    rows = [
        f"| {_cell(one.label)} | {one.n_known:,} | {one.n_given:,} | {one.n_right:,} | {one.f1:.3f} {bar} |"
        for one in labels
        for bar in [f"`{'█' * round(one.f1 * BAR)}`"]
    ]
    return "\n".join(["| label | known | given | right | F1 |", "|---|---:|---:|---:|---|", *rows])


def _confusion(found: Agreement) -> str:
    names = [one.label for one in found.labels]
    head = f"| known \\ given | {' | '.join(map(_cell, names))} |"
    rows = [
        f"| {_cell(known)} | {' | '.join(f'{found.pairs.get((known, given), 0):,}' for given in names)} |"
        for known in names
    ]
    return "\n".join([head, f"|---|{'---:|' * len(names)}", *rows])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ") or "(empty)"


def _disagreements(store: Store, pipeline: Pipeline, gold: GoldSpec, manifest: TableManifest) -> Any:
    """The first rows whose answers differ, to be read; without what `redact` keeps from the model."""
    names = [pipeline.record_id, gold.column, gold.answer or ""]
    status = pipeline.answer_columns["status"]
    found = store.read_parquet(
        [part.key for part in manifest.parts],
        lambda rows: differing(rows, gold, gold.answer or "", status).select(columns(names)).head(SAMPLE_ROWS),
        streaming=True,
    )
    return shown_to_people(pipeline.spec.redact, found)
