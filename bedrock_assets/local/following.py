"""Says in a terminal what the demo is doing: a line for each step, and a bar while rows are answered."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from bedrock_assets.aws.job import Job
from bedrock_assets.units import counted, duration


@dataclass(frozen=True)
class Moment:
    """What is being done, and how far it is."""

    step: str
    """The sentence that says so; a new one is a new line."""
    detail: str = ""
    n_done: int = 0
    n_total: int | None = None
    """None where nobody can tell how long it takes."""

    @classmethod
    def of(
        cls, done: Mapping[str, int], jobs: Sequence[Job], *, n_shards: int, n_records: int, min_records: int
    ) -> "Moment":
        """
        The moment of a run that gets the answers.

        Args:
            done: Materialized partitions by asset: `prompt_shards`, `batch_outputs`.
            jobs: All jobs of the pipeline.
            n_shards: Partitions that the run has.
            n_records: Rows that are sent.
            min_records: Fewest records of a job.
        """
        n_running = sum(job.status.in_flight for job in jobs)
        if jobs and not n_running and len(jobs) >= n_shards:
            return cls("fetching the answers", "", done["batch_outputs"], n_shards)
        if jobs:
            n_answered = min(n_records, sum(job.n_processed for job in jobs))
            running = f"{counted(n_running, 'job')} in flight" if n_running else "the next job starts soon"
            detail = f"{running}, {done['batch_outputs']} of {n_shards} shards fetched"
            return cls("the model answers; what is ready is fetched", detail, n_answered, n_records)
        return cls(_before_jobs(done["prompt_shards"] < n_shards, n_records, min_records * n_shards))


class Narrator:
    """Prints each new step with the time since the start, and shows how far the present one is on a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._progress = Progress(
            TextColumn("        "),
            SpinnerColumn(),
            BarColumn(),
            TextColumn("{task.description}"),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._step = ""

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._began

    def tell(self, moment: Moment) -> None:
        """Say what is done now."""
        if moment.step != self._step:
            self._step = moment.step
            self._console.print(f"{duration(self.seconds):>12}  {moment.step}", highlight=False)
        if self._task is None:
            self._task = self._progress.add_task("")
        counted = f"{moment.n_done:,} of {moment.n_total:,}" if moment.n_total else ""
        text = ", ".join(part for part in (counted, moment.detail) if part)
        self._progress.update(self._task, total=moment.n_total, completed=moment.n_done, description=text)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


def _before_jobs(is_writing: bool, n_records: int, n_needed: int) -> str:
    if is_writing:
        return "writing the prompts: one file per job"
    if n_records < n_needed:
        return f"asking for {n_records} answers one by one: they are too few for a job"
    return "starting the first job: the sensor looks for work every few seconds"
