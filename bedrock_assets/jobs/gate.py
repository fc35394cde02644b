"""Whether the shards behind a canary may be sent: what its answers say, and a person where one is asked."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import dagster as dg
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.config.workload import WorkloadSpec
from bedrock_assets.errors import ApprovalRefused
from bedrock_assets.jobs.canary import (
    AnsweredCanary,
    CanaryResult,
    answered_canary,
    canary_of,
    canary_result,
    is_canary,
)
from bedrock_assets.jobs.ledger import Entry, Ledger
from bedrock_assets.jobs.shard_request import RequestStatus
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.storage.keys import approval_key, raw_manifest_key
from bedrock_assets.storage.manifests import Approval, RawManifest, ShardManifest
from bedrock_assets.storage.store import Store
from bedrock_assets.units import counted

APPROVED = "approved"
"""The asset that a person materializes."""
APPROVAL = "waiting for approval"
"""In every text that says so."""


@dataclass(frozen=True)
class CanaryGate:
    """Whether the shards behind a canary may be sent, wait, or are refused."""

    waits: bool = False
    for_approval: bool = False
    """Whether a person is waited for."""
    refusal: str = ""


OPEN_GATE = CanaryGate()


def canary_gate(store: Store, workload: Workload, ledger: Ledger, key: str) -> CanaryGate:
    """What canary *key*, and who has looked at it, say of the pipeline's other shards."""
    canary = answered_canary(store, workload.spec.name, key)
    if canary is None:
        return _unanswered(workload, ledger, key)
    result = _remembered_result(store, workload, ledger, canary)
    approval = approval_of(store, canary.shard) if workload.approval else None
    if not (result.passed or (approval and approval.despite_thresholds)):
        refusal = f"not sent, because the answers of canary {key} exceed a threshold: {'; '.join(result.reasons)}. "
        despite = f". To send them all the same: {_despite(workload.spec)}" if workload.approval else ""
        return CanaryGate(refusal=f"{refusal}Look at them, and at the prompt{despite}")
    is_held = workload.approval and approval is None
    return CanaryGate(waits=True, for_approval=True) if is_held else OPEN_GATE


def _remembered_result(store: Store, workload: Workload, ledger: Ledger, canary: AnsweredCanary) -> CanaryResult:
    """Read once, and not at every tick: it is the same until the canary's prompts or its answers are others."""
    settings = (*canary.identity, str(workload.canary), str(workload.gold))
    if ledger.canary is None or ledger.canary[0] != settings:
        ledger.canary = settings, canary_result(store, workload, canary)
    return ledger.canary[1]


def _unanswered(workload: Workload, ledger: Ledger, key: str) -> CanaryGate:
    entry, prompts = ledger.entries.get(key), ledger.staleness.prompts.get(key)
    # While shards wait for a person the canary's prompts may be made anew: it is about to be launched again.
    is_remade = workload.approval and entry and prompts and prompts.storage_id > entry.storage_id
    if entry is not None and (entry.state.is_open or is_remade):
        return CanaryGate(waits=True)
    reason = (entry and entry.message) or "it was not launched"
    return CanaryGate(
        refusal=f"not sent, because canary {key} has no answers: {reason}. Launch it first, or with the others"
    )


def approval_of(store: Store, canary: ShardManifest) -> Approval | None:
    """The approval of a canary's answers; None if there is none, or only of other prompts or another model."""
    approval = store.read_intact(approval_key(canary.pipeline), Approval)
    return approval if approval and approval.counts_for(canary) else None


def current_approval(store: Store, pipeline: str) -> Approval | None:
    """The approval of the canary of the current dataset; None if there is none."""
    raw = store.read_model(raw_manifest_key(pipeline), RawManifest)
    canary = answered_canary(store, pipeline, raw.shards[0].key) if raw else None
    return approval_of(store, canary.shard) if canary else None


class Held(NamedTuple):
    """Open requests without a job that are not let through yet, where a person has a say."""

    entries: list[Entry]
    for_person: bool
    """Whether only the person is missing; else the canary has no answers to its current prompts."""


def held_requests(store: Store, spec: WorkloadSpec, ledger: Ledger, workload: Workload | None = None) -> Held:
    """
    What waits behind the canary of a pipeline with `approval`; from three small reads.

    Args:
        workload: The pipeline's, to know whether the answers miss a threshold: then nobody is waited for, as the next
            tick refuses the others. Without it that is not looked at.
    """
    if not (isinstance(spec, PipelineSpec) and spec.approval):
        return Held([], for_person=False)
    pending = [entry for entry in ledger.open_entries if not entry.job_arn and not is_canary(entry.request.shard)]
    held = [entry for entry in pending if ledger.status_of(entry.request) is RequestStatus.WANTED]
    canary = answered_canary(store, spec.name, canary_of(held[0].request.shard)) if held else None
    if canary is None:
        return Held(held, for_person=False)
    is_settled = approval_of(store, canary.shard) is not None
    if workload and not is_settled:
        is_settled = not _remembered_result(store, workload, ledger, canary).passed
    return Held([] if is_settled else held, for_person=not is_settled)


def approval_note(store: Store, spec: WorkloadSpec, ledger: Ledger, workload: Workload | None = None) -> str:
    """What is told while shards wait for a person; empty if none does. Arguments as of `held_requests`."""
    held = held_requests(store, spec, ledger, workload)
    if not held.for_person:
        return ""
    return waiting_for_approval(len(held.entries), spec)


def waiting_for_approval(n_shards: int, spec: WorkloadSpec) -> str:
    """Says that so many shards of a pipeline wait for a person, and what the person does."""
    return f"{counted(n_shards, 'shard')} of {spec.name} {APPROVAL}: {how_to_approve(spec)}"


def how_to_approve(spec: WorkloadSpec) -> str:
    """What a person does, in words."""
    key = "/".join(spec.key_of(APPROVED))
    return f"look at the canary's answers, then materialize {key} or run `bedrock-assets approve {spec.name}`"


def _despite(spec: WorkloadSpec) -> str:
    key = "/".join(spec.key_of(APPROVED))
    return (
        f"materialize {key} with `despite_thresholds: true`, or run `bedrock-assets approve {spec.name} "
        "--despite-thresholds`, then launch the shards again"
    )


def canary_to_approve(store: Store, workload: Workload, *, despite_thresholds: bool = False) -> ShardManifest:
    """
    The canary whose answers can be approved now.

    Args:
        despite_thresholds: Whether they may miss the thresholds.

    Raises:
        ApprovalRefused: There are no answers, they are of other settings, or they miss a threshold.
    """
    spec, cure = workload.spec, "launch batch_outputs first, and approve when the canary is answered"
    raw = store.read_model(raw_manifest_key(spec.name), RawManifest)
    if raw is None:
        raise ApprovalRefused(f"there is no canary of {spec.name} to approve: raw_dataset has not been materialized")
    key = raw.shards[0].key
    canary = answered_canary(store, spec.name, key)
    if canary is None:
        raise ApprovalRefused(f"canary {key} of {spec.name} has no answers to its prompts yet; {cure}")
    changed = workload.changed_since(canary.shard.configuration)
    if changed or canary.shard.raw_revision != raw.revision:
        other = " and ".join(changed) or "dataset"
        raise ApprovalRefused(
            f"the answers of canary {key} of {spec.name} are to prompts of another {other}; materialize prompt_shards, "
            f"then {cure}"
        )
    result = canary_result(store, workload, canary)
    if not (result.passed or despite_thresholds):
        raise ApprovalRefused(
            f"the answers of canary {key} of {spec.name} exceed a threshold: {'; '.join(result.reasons)}. Correct the "
            f"prompt; or, to send the others all the same: {_despite(spec)}"
        )
    return canary.shard


def approve(
    store: Store, workload: Workload, by: str, *, despite_thresholds: bool = False, shown: str = ""
) -> Approval:
    """
    Approve the answers of the canary, so that the next tick sends the other shards.

    Args:
        by: Who approves.
        shown: Fingerprint of the prompts whose answers the person has seen; empty if that is not known.

    Returns:
        The approval in the store; an earlier one of the same answers stays as it is.

    Raises:
        ApprovalRefused: As `canary_to_approve`; or the canary is another one than the person has seen.
    """
    canary = canary_to_approve(store, workload, despite_thresholds=despite_thresholds)
    if shown and shown != canary.fingerprint:
        raise ApprovalRefused(
            f"the canary of {workload.spec.name} has other prompts, and other answers, than those that you have seen; "
            "look at these, and approve again"
        )
    former = approval_of(store, canary)
    if former and former.fingerprint == canary.fingerprint and former.despite_thresholds >= despite_thresholds:
        return former
    approval = Approval(
        shard=canary.shard.key,
        fingerprint=canary.fingerprint,
        content=canary.content,
        approved_by=by,
        approved_at=datetime.now(UTC),
        despite_thresholds=despite_thresholds,
    )
    store.write_model(approval_key(workload.spec.name), approval)
    return approval


def take_queued_approval(instance: DagsterInstance, store: Store, workload: Workload, ledger: Ledger, key: str) -> bool:
    """
    Take a run of the asset `approved` that has no run slot yet for the approval that it is.

    The runs that wait for the shards may hold all slots, and would wait for that run.
    """
    entry = ledger.entries.get(key)
    since = datetime.fromtimestamp(entry.at, UTC) if entry else None
    queued = RunsFilter(statuses=[DagsterRunStatus.QUEUED], created_after=since)
    alone = {dg.AssetKey(workload.spec.key_of(APPROVED))}
    runs = [run for run in instance.get_runs(queued) if run.asset_selection == alone]
    if not runs:
        return False
    try:
        approve(store, workload, by_run(runs[0].run_id, runs[0].tags.get("user")))
    except ApprovalRefused:
        return False  # the run will say why
    return True


def approval_facts(approval: Approval) -> dict[str, str]:
    """Who has approved what, as metadata of the asset `approved`."""
    return {
        "approved_by": approval.approved_by,
        "approved_at": f"{approval.approved_at:%Y-%m-%d %H:%M:%S} UTC",
        "shard": approval.shard,
        "fingerprint": approval.fingerprint,
        **({"thresholds_missed": "approved all the same"} if approval.despite_thresholds else {}),
    }


def by_run(run_id: str, user: str | None) -> str:
    """Who approves by a run: Dagster+ tells its user, others only the run."""
    return user or f"run {run_id[:8]}"
