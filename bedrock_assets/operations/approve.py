"""Approve a canary's answers from a terminal: in the store, where it counts, and in Dagster, where it is shown."""

import dagster as dg
from dagster import DagsterInstance

from bedrock_assets.jobs.event_log import log_materialization
from bedrock_assets.jobs.gate import APPROVED, approval_facts, approve
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.storage.manifests import Approval
from bedrock_assets.storage.store import Store


def approve_canary(
    instance: DagsterInstance,
    store: Store,
    workload: Workload,
    by: str,
    *,
    despite_thresholds: bool = False,
    shown: str = "",
) -> Approval:
    """
    Approve the canary's answers, and materialize the asset `approved` without a run.

    Args:
        by: Who approves.
        despite_thresholds: Whether the answers may miss the thresholds.
        shown: As of `approve`.

    Raises:
        ApprovalRefused: There are no answers, they are of other settings, or they miss a threshold.
    """
    approval = approve(store, workload, by, despite_thresholds=despite_thresholds, shown=shown)
    key = dg.AssetKey(workload.spec.key_of(APPROVED))
    emit = instance.report_runless_asset_event
    log_materialization(emit, key, None, approval_facts(approval), approval.fingerprint)
    return approval
