"""The asset `approved`, which a person materializes to have the shards behind the canary sent."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from pydantic import Field

from bedrock_assets.assets.failures import sentence_first
from bedrock_assets.assets.gold import agreement_facts
from bedrock_assets.assets.metadata import shared_metadata
from bedrock_assets.assets.sample import never_fails, records_in_full
from bedrock_assets.jobs.canary import is_canary
from bedrock_assets.jobs.collect_runs import BACKFILL_TAG
from bedrock_assets.jobs.event_log import materialize, write_observation
from bedrock_assets.jobs.gate import APPROVED, approval_facts, approve, by_run, current_approval, how_to_approve
from bedrock_assets.jobs.ledger import Ledger
from bedrock_assets.jobs.review import CanaryReview, review_canary
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.prices import NO_PRICE, NO_TOKENS, usd
from bedrock_assets.resources.store import StoreResource
from bedrock_assets.storage.store import Store
from bedrock_assets.units import counted, significant


class ApprovedConfig(dg.Config):
    """How the canary's answers are approved."""

    despite_thresholds: bool = Field(
        default=False,
        description="Approve answers that miss a threshold of `canary` or `gold`; then launch the shards again.",
    )
    by: str = Field(default="", description="Your name, to be kept with the approval.")
    fingerprint: str = Field(
        default="",
        description="`canary_fingerprint` of the observation that you have looked at; if the canary has other prompts "
        "by now, nothing is approved.",
    )


def build_approved(pipeline: Pipeline) -> dg.AssetsDefinition:
    """The asset that a person materializes; nothing else does."""
    spec = pipeline.spec

    @dg.asset(
        key=spec.key_of(APPROVED),
        deps=[dg.AssetDep(spec.key_of("batch_outputs"), partition_mapping=dg.AllPartitionMapping())],
        output_required=False,
        description=f"**Materialize it, alone, to approve the canary's answers**: `{spec.name}` then sends its other "
        "shards, **which are paid for**. Before, look at this asset's latest observation: it has figures, some answers "
        "beside their inputs, and the estimated cost of the rest.\n\nAnother prompt, model or other first rows need a "
        "new approval.",
        **shared_metadata(spec, {"person"}),
    )
    @sentence_first
    def approved(
        context: dg.AssetExecutionContext, config: ApprovedConfig, bedrock_batch_store: StoreResource
    ) -> Iterator[dg.MaterializeResult[Any]]:
        run = context.run
        opened, ledger = bedrock_batch_store.open(), Ledger.of(spec)
        if BACKFILL_TAG in run.tags or len(context.job_def.nodes) > 1:
            # Whoever materializes everything has not looked at the answers; a backfill is completed by an earlier yes.
            approval = current_approval(opened, spec.name)
        else:
            by = config.by or by_run(run.run_id, run.tags.get("user"))
            approval = approve(
                opened,
                pipeline.workload,
                by,
                despite_thresholds=config.despite_thresholds,
                shown=config.fingerprint,
            )
        if approval is None:
            context.log.warning("this run makes other assets too, so it approves nothing; materialize this one alone")
            return
        ledger.refresh(context.instance)
        facts = approval_facts(approval) | review_metadata(opened, pipeline.workload, ledger)
        yield from materialize(APPROVED, facts, approval.fingerprint)

    return approved  # pyright: ignore[reportReturnType] - the decorator is untyped


def observe_canary(context: dg.AssetExecutionContext, store: Store, workload: Workload, shard: str) -> None:
    """If a person has to approve *shard*'s answers, show them on `approved`, in the run that has collected them."""
    if not (workload.approval and is_canary(shard)):
        return
    ledger = Ledger.of(workload.spec)
    ledger.refresh(context.instance)
    told = dg.AssetObservation(
        workload.spec.key_of(APPROVED),
        description=f"the canary is answered: {how_to_approve(workload.spec)}",
        metadata=review_metadata(store, workload, ledger),
    )
    write_observation(context.log_event, told, "canary")


@never_fails
def review_metadata(store: Store, workload: Workload, ledger: Ledger) -> dict[str, Any]:
    """What a person needs to see before an approval, as Dagster shows it."""
    review = review_canary(store, workload, ledger)
    if review is None:
        return {"missing": "answers of the canary"}
    result = review.result
    mean = result.mean_output_tokens
    return {
        "rest": rest_in_words(review),
        "cost_of_canary": cost_of_canary(review),
        "thresholds": "; ".join(result.reasons) or "met",
        "canary_rows": result.n_rows,
        "error_rate": significant(result.error_rate),
        "mean_output_tokens": "unknown" if mean is None else significant(mean),
        **(agreement_facts(result.agreement) if result.agreement else {}),
        "sample": records_in_full(review.sample),
        "canary": review.shard,
        "canary_fingerprint": review.fingerprint,
    }


def rest_in_words(review: CanaryReview) -> str:
    """What waits, and what it may cost."""
    if not review.n_shards:
        return "no shard waits; launch batch_outputs for the others"
    waiting = f"{counted(review.n_records, 'record')} in {counted(review.n_shards, 'shard')}"
    cost = f"cost {NO_PRICE}" if review.rest_usd is None else f"about {usd(review.rest_usd)}, by {review.basis}"
    return f"{waiting}, {cost}"


def cost_of_canary(review: CanaryReview) -> str:
    """What the canary has cost."""
    if review.cost_usd is not None:
        return usd(review.cost_usd)
    return NO_PRICE if review.rest_usd is None else NO_TOKENS
