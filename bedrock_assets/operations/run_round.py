"""Run one round of a pipeline from a terminal, cron or CI: read the data, send what has changed, build the table."""

import logging
import re
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import import_module

import dagster as dg
from dagster import DagsterInstance
from dagster.components.definitions import LazyDefinitions

from bedrock_assets import errors
from bedrock_assets.config.workload import WorkloadSpec
from bedrock_assets.errors import BedrockAssetsError, ConfigError
from bedrock_assets.jobs.dagster_internals import InstigatorType
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.jobs.rounds import Rounds
from bedrock_assets.jobs.shard_request import on_hold_note
from bedrock_assets.jobs.table_rounds import UNANSWERED, TableRounds
from bedrock_assets.jobs.under_way import UnderWay
from bedrock_assets.operations.approve import approve_canary
from bedrock_assets.operations.dagster_checks import HEARTBEAT_S
from bedrock_assets.pipeline.project import Project
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.storage.store import Store

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
SILENCE_S = 45
"""Seconds without progress after which the sensor's own words are told."""
UP_TO_DATE = "the table is up to date"


class RoundFailed(BedrockAssetsError):
    """A run of the round failed, or shards have no answers."""


@dataclass(frozen=True)
class Progress:
    """How far a round is."""

    step: str
    """What is being done, as a sentence says it."""
    n_shards: int = 0
    n_answered: int = 0
    n_failed: int = 0
    n_records: int = 0
    n_records_answered: int = 0
    note: str = ""
    """What the sensor said last, if nothing goes on."""
    approval: str = ""
    """For what a person is waited for; nothing else goes on then."""

    @property
    def is_complete(self) -> bool:
        """Whether every shard is answered."""
        return self.n_shards == self.n_answered > 0


@dataclass
class RoundRun:
    """
    One round of a pipeline, through a Dagster instance whose daemon runs.

    Args:
        job: All assets of the code location.
        tell: Told of each step, and of the progress while shards wait.
        store: Where an approval is looked for, if the pipeline asks for one.
        approves_as: Who approves the canary's answers if they meet the thresholds; empty leaves that to a person.
    """

    instance: DagsterInstance
    job: dg.JobDefinition
    workload: Workload
    tell: Callable[[Progress], object]
    store: Store | None = None
    approves_as: str = ""
    poll_s: float = 2.0
    rounds: Rounds = field(init=False)

    def __post_init__(self) -> None:
        self.rounds = Rounds(self.workload, store=self.store)

    @property
    def spec(self) -> WorkloadSpec:
        """The pipeline's."""
        return self.workload.spec

    def begin(self) -> None:
        """
        Materialize `raw_dataset`, unless a round is under way.

        Raises:
            ConfigError: No sensor daemon runs, so that nothing would be submitted.
            RoundFailed: The run failed.
        """
        _require_daemon(self.instance)
        self.rounds.ledger.refresh(self.instance)
        reason = self.rounds.busy(UnderWay(self.instance))
        if reason:
            self.tell(Progress(reason))
            return
        self.tell(Progress("reading the data"))
        self._execute(dg.RunRequest(asset_selection=[dg.AssetKey(self.spec.key_of("raw_dataset"))]))

    def request(self) -> None:
        """
        Make prompts and request what has no answer, until the sensor has all that it needs.

        Raises:
            RoundFailed: A run failed, for example because the launch is above its budget.
        """
        while not isinstance(found := self.rounds.next(self.instance, UnderWay(self.instance)), str):
            for request in found:
                asset = (request.asset_selection or [dg.AssetKey("")])[0].path[-1]
                self.tell(Progress("making prompts" if asset == "prompt_shards" else "requesting answers"))
                self._execute(request)

    def finish(self) -> Progress:
        """
        Wait until no shard waits for answers, then build the table.

        Returns:
            The state at the end, or as soon as nothing goes on without a person.

        Raises:
            RoundFailed: The table could not be built.
            ApprovalRefused: The canary's answers cannot be approved.
        """
        last, since = Progress(""), time.monotonic()
        while True:
            self.request()
            progress = self._progress("waiting for answers")
            last, since = (last, since) if progress == last else (progress, time.monotonic())
            is_silent = time.monotonic() - since > SILENCE_S
            self.tell(replace(progress, note=self.stall()) if is_silent else progress)
            if not self.rounds.busy(UnderWay(self.instance)) and not self._approve():
                break
            time.sleep(self.poll_s)
        if progress.is_complete:
            self.tell(Progress("building the table"))
            self.build_table()
        return progress

    def held(self) -> Progress | None:
        """The state, if nothing goes on without a person; else None."""
        self.rounds.ledger.refresh(self.instance)
        progress = self._progress("requested")
        return progress if progress.approval else None

    def stall(self) -> str:
        """Why nothing goes on; empty while jobs are at Bedrock or collected, which takes its time."""
        ledger = self.rounds.ledger
        if any(entry.state is RequestState.SUBMITTED for entry in ledger.open_entries):
            return ""
        return on_hold_note(ledger.n_on_hold) if ledger.n_on_hold else last_words(self.instance, self.spec.name)

    def _approve(self) -> bool:
        """Approve for the person who said so beforehand; False if nothing waits for that."""
        if not (self.store and self.approves_as and self.rounds.approval_note()):
            return False
        approve_canary(self.instance, self.store, self.workload, self.approves_as)
        return True

    def build_table(self) -> None:
        """
        Build the table of the answers that there are, unless it is up to date.

        Raises:
            RoundFailed: A run failed, or shards have no answers to their present prompts.
        """
        table = TableRounds(self.spec)
        while (found := table.next(self.instance, UnderWay(self.instance))) != UP_TO_DATE:
            if not isinstance(found, str):
                self._execute(found)
            elif "failed" in found or UNANSWERED in found:  # waiting would not help
                raise RoundFailed(f"{self.spec.name}/joined_table: {found}")
            else:
                time.sleep(self.poll_s)

    def _execute(self, request: dg.RunRequest) -> None:
        keys = list(request.asset_selection or [])
        result = self.job.execute_in_process(
            run_config={**request.run_config, **QUIET},
            instance=self.instance,
            asset_selection=keys,
            tags=dict(request.tags),
            raise_on_error=False,
        )
        if not result.success:
            raise RoundFailed(f"{keys[0].to_user_string()} failed: {_reason(result)}")

    def _progress(self, step: str) -> Progress:
        ledger = self.rounds.ledger
        shards = self.instance.get_dynamic_partitions(f"{self.spec.name}_shards")
        entries = [entry for shard in shards if (entry := ledger.entries.get(shard))]
        answered = [entry for entry in entries if entry.state is RequestState.ANSWERED]
        return Progress(
            step,
            n_shards=len(shards),
            n_answered=len(answered),
            n_failed=sum(not entry.state.is_open for entry in entries) - len(answered),
            n_records=sum(entry.request.n_records for entry in entries),
            n_records_answered=sum(entry.request.n_records for entry in answered),
            approval=self.rounds.approval_note(),
        )


def load_job(project: Project) -> dg.JobDefinition:
    """
    All assets of a project's code location, as Dagster would load it.

    Raises:
        ConfigError: Its module has no Definitions.
    """
    # What is to be known of the other pipelines is told where they are loaded for themselves.
    logging.getLogger("bedrock_assets.components").setLevel(logging.ERROR)
    # Dagster warns of what components use of its own; whoever runs a command can do nothing about it.
    warnings.filterwarnings("ignore", category=dg.BetaWarning)
    warnings.filterwarnings("ignore", category=dg.PreviewWarning)
    if str(project.source) not in sys.path:
        sys.path.insert(0, str(project.source))
    for value in vars(import_module(project.module)).values():
        if isinstance(value, dg.Definitions | LazyDefinitions):
            loaded = value() if isinstance(value, LazyDefinitions) else value
            if isinstance(loaded, dg.Definitions):
                return loaded.resolve_implicit_global_asset_job_def()
    raise ConfigError(f"module {project.module} of {project} has no Definitions, which Dagster would load")


def last_words(instance: DagsterInstance, pipeline: str) -> str:
    """What `bedrock_jobs_sensor` said in its last tick, but of other pipelines; empty if it has not ticked."""
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
        if state.instigator_name == "bedrock_jobs_sensor":
            ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
            return about(pipeline, ticks[0].skip_reason or "") if ticks else ""
    return ""


def about(pipeline: str, said: str) -> str:
    """What the sensor *said*, without what is about other pipelines alone."""
    name = re.escape(pipeline)
    of_others = re.compile(rf"\bshards? of (?!{name} )|\bba-(?!{name}-)")
    return "; ".join(sentence for sentence in said.split("; ") if not of_others.search(sentence))


def _require_daemon(instance: DagsterInstance) -> None:
    beat = instance.get_daemon_heartbeats().get("SENSOR")
    if beat is None or datetime.now(UTC).timestamp() - beat.timestamp > HEARTBEAT_S:
        raise ConfigError(
            "Dagster's sensor daemon does not run on this instance, so no job would be submitted; start "
            "`dagster-daemon run`, `dg dev` or `bedrock-assets dev` first"
        )


def _reason(result: dg.ExecuteInProcessResult) -> str:
    """The message of the step that failed: our own, if there is one, else the innermost."""
    for event in result.all_events:
        error = event.step_failure_data.error if event.is_step_failure else None
        while error and error.cause and not hasattr(errors, error.cls_name or ""):
            error = error.cause
        if error:
            told = error.message.strip()
            return told.partition(f"{error.cls_name}: ")[2] or told
    return "see the run's log"
