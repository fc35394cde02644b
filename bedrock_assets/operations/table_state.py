"""The state of a pipeline's table: when it was built, whether its answers are newer, whether its last run failed."""

from dataclasses import dataclass
from datetime import UTC, datetime

from dagster import AssetKey, DagsterInstance, DagsterRunStatus

from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.errors import StoreError
from bedrock_assets.storage.keys import table_manifest_key
from bedrock_assets.storage.manifests import TableManifest
from bedrock_assets.storage.store import Store
from bedrock_assets.units import counted


@dataclass(frozen=True)
class TableState:
    """What is known of a table from Dagster's event log and from the store."""

    built_at: datetime | None = None
    """In UTC; None if it was never built."""
    counts: TableManifest | None = None
    """None if there is no table, or its manifest cannot be read."""
    is_stale: bool = False
    """Whether answers are newer than the table."""
    failed_run: str | None = None
    """The last run that was to build it, if that failed."""

    def __str__(self) -> str:
        failed = f"; the last run that was to build it failed: {self.failed_run}" if self.failed_run else ""
        if self.built_at is None:
            return f"not built yet{failed}"
        built = f"built {self.built_at:%Y-%m-%d %H:%M} UTC"
        if self.counts:
            parts = {"ok": self.counts.n_ok, "error": self.counts.n_error, "missing": self.counts.n_missing}
            rows = counted(self.counts.n_rows, "row")
            built += f", {rows}: " + ", ".join(f"{n:,} {name}" for name, n in parts.items() if n)
        return built + ("; stale: there are newer answers" if self.is_stale else "") + failed


def table_state(instance: DagsterInstance, spec: PipelineSpec, store: Store) -> TableState:
    """Read the state of a pipeline's table."""
    key = AssetKey(spec.key_of("joined_table"))
    records = instance.get_asset_records([key])
    entry = records[0].asset_entry if records else None
    event = entry.last_materialization if entry else None
    answers = instance.get_latest_materialization_event(AssetKey(spec.key_of("batch_outputs")))
    run = instance.get_run_by_id(entry.last_run_id) if entry and entry.last_run_id else None
    failed = run is not None and run.status is DagsterRunStatus.FAILURE
    built_by = event.run_id if event else None
    return TableState(
        datetime.fromtimestamp(event.timestamp, UTC) if event else None,
        _counts(store, spec) if event else None,
        bool(event and answers and answers.timestamp > event.timestamp),
        run.run_id if run and failed and run.run_id != built_by else None,
    )


def _counts(store: Store, spec: PipelineSpec) -> TableManifest | None:
    try:
        return store.read_model(table_manifest_key(spec.name), TableManifest)
    except StoreError:  # told when the table is read
        return None
