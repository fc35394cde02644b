"""
One job's `InProgress`: records in, output lines out, in steps, so that one thread serves many jobs.

The output depends only on the input, the model, the faults and the job's name: a job that starts over after a crash
writes the same bytes. Lines are shuffled within blocks of the input, so memory holds one block.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, repeat, takewhile
from typing import TypeAlias

import obstore

from bedrock_assets.emulator.inputs import InputFile, Record, input_files, parse_record, read_lines
from bedrock_assets.emulator.jsontypes import JsonObject, dump
from bedrock_assets.emulator.models import Counts, Job
from bedrock_assets.emulator.replies import RecordError, Reply, ReplyFunction
from bedrock_assets.emulator.replies.faulty import faulty
from bedrock_assets.emulator.storage import WRITE_BUFFER_BYTES, Buckets, Location, locate

BLOCK_RECORDS = 4000
BLOCK_BYTES = 32 * 1024 * 1024
"""A block ends at either bound; lines are shuffled within it."""

MAX_STEP_RECORDS = 250
MIN_STEP_RECORDS = 10
STEPS_PER_JOB = 50
"""A job takes about this many steps, within the bounds: enough for live counts that move."""

EARLY_BYTES = 1024 * 1024
"""Size to which a file that is visible early grows, until the whole file replaces it."""

Outcome: TypeAlias = Callable[[], Reply | RecordError]
"""Returns the reply to a record, or the model's refusal."""


@dataclass
class Tally:
    """What a job has done so far."""

    processed: int = 0
    success: int = 0
    error: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class Execution:
    """The work of one job."""

    def __init__(self, job: Job, buckets: Buckets, reply: ReplyFunction, limit: int, n_threads: int = 1) -> None:
        """
        Args:
            limit: Records to process; later ones stay unprocessed.
            n_threads: Records that are answered at once.
        """
        share = job.faults.truncate_after
        self._cut_after = None if share is None else int(share * job.counts.total)
        self.limit = limit
        self.tally = Tally()
        self.saved_at = 0.0
        """Monotonic time at which the live counts were last saved."""
        self._job = job
        self._buckets = buckets
        self._reply = reply
        self._threads = ThreadPoolExecutor(n_threads, "bedrock-emulator-model") if n_threads > 1 else None
        self._folder = locate(job.output_uri).join(job.job_id)
        # Other jobs wait for the end of a step, so jobs that wait for models take short ones.
        n_records = min(MAX_STEP_RECORDS, max(MIN_STEP_RECORDS, job.counts.total // STEPS_PER_JOB))
        self._step_records = n_threads if n_threads > 1 else n_records
        self._steps = self._run()

    @property
    def counts(self) -> Counts:
        """The live counts."""
        tally = self.tally
        return Counts(self._job.counts.total, tally.processed, tally.success, tally.error)

    def halt(self) -> None:
        """Process no further record; the remaining steps publish the lines so far."""
        self.limit = min(self.limit, self.tally.processed)

    def step(self) -> bool:
        """
        Process some records; whether more steps follow.

        Each file appears whole when it is done. The manifest is last, unless a fault delays it.
        """
        return next(self._steps, self) is None

    def _run(self) -> Iterator[None]:
        for file, name in output_names(input_files(self._buckets, self._job.input_uri)):
            if not self._done:
                yield from self._file_steps(file, name)
        faults = self._job.faults
        if not (faults.fails_late or faults.missing_manifest or faults.late_manifest_s):
            write_manifest(self._buckets, self._job, self.manifest)

    @property
    def manifest(self) -> str:
        """The manifest of the work so far."""
        tally = self.tally
        return dump(
            {
                "totalRecordCount": self._job.counts.total,
                "processedRecordCount": tally.processed,
                "successRecordCount": tally.success,
                "errorRecordCount": tally.error,
                "inputTokenCount": tally.input_tokens,
                "outputTokenCount": tally.output_tokens,
            }
        )

    @property
    def _done(self) -> bool:
        """Whether the rest of the input gets no output lines."""
        return self.tally.processed >= self.limit and not self._job.faults.mark_expired

    def _file_steps(self, file: InputFile, output_name: str) -> Iterator[None]:
        location = self._folder.join(output_name)
        output = _OutputFile(self._buckets, location, early=self._job.faults.early_output)
        # Not closed on an error: closing publishes.
        for number, records in enumerate(self._blocks(file)):
            random.Random(f"{self._job.name}/{file.name}/{number}").shuffle(records)  # noqa: S311 - must be repeatable
            for start in range(0, len(records), self._step_records):
                chunk = records[start : start + self._step_records]
                output.write("".join(map(self._lines, chunk, self._outcomes(chunk))))
                yield
            if self._done:
                break
        output.close()

    def _outcomes(self, records: list[Record]) -> Iterator[Outcome]:
        """The model's outcome of each record, computed when it is called or earlier by threads."""
        if self._threads is None:
            return (partial(self._try, record) for record in records)
        wanted = records[: max(0, self.limit - self.tally.processed)]
        futures = [self._threads.submit(self._try, record) for record in wanted]
        return chain((future.result for future in futures), repeat(_not_processed))

    def _try(self, record: Record) -> Reply | RecordError:
        try:
            return self._reply(record.model_input, self._job.model_id)
        except RecordError as refusal:
            return refusal

    def _blocks(self, file: InputFile) -> Iterator[list[Record]]:
        block: list[Record] = []
        n_bytes = number = 0
        for lines in read_lines(self._buckets, file):
            for line in lines:
                block.append(parse_record(line, number))
                number += 1
                n_bytes += len(line)
                if len(block) == BLOCK_RECORDS or n_bytes >= BLOCK_BYTES:
                    yield block
                    block, n_bytes = [], 0
        if block:
            yield block

    def _lines(self, record: Record, outcome: Outcome) -> str:
        """The output lines of a record: one, unless a fault or the limit changes that."""
        faults, key = self._job.faults, (self._job.name, record.record_id)
        if self.tally.processed >= self.limit:
            return _expired_line(record) if faults.mark_expired else ""
        line = self._answer(record, outcome)
        if self._cut_after is not None and self.tally.processed > self._cut_after:
            return line[: len(line) // 2] if self.tally.processed == self._cut_after + 1 else ""
        if faults.hits(faults.missing_record_rate, "missing", *key):
            return ""
        if faults.hits(faults.malformed_line_rate, "malformed", *key):
            line = line[: max(1, len(line) // 2)] + "\n"
        return line * 2 if faults.hits(faults.duplicate_record_rate, "duplicate", *key) else line

    def _answer(self, record: Record, outcome: Outcome) -> str:
        tally = self.tally
        tally.processed += 1
        fault = self._job.faults.record_error(self._job.name, record.record_id)
        if fault is not None:
            tally.error += 1
            retryable: JsonObject = {} if fault.retryable is None else {"retryable": fault.retryable}
            return _error_line(record, {"errorCode": fault.code, "errorMessage": fault.message, **retryable})
        reply = outcome()
        if isinstance(reply, RecordError):
            tally.error += 1
            return _error_line(record, {"errorCode": reply.code, "errorMessage": reply.message})
        faults = self._job.faults
        reply = faulty(reply, faults.answer_fault(self._job.name, record.record_id), faults.token_counts)
        tally.success += 1
        tally.input_tokens += reply.input_tokens
        tally.output_tokens += reply.output_tokens
        return f'{{"modelInput":{_echo(record)},"modelOutput":{reply.body},{_tail(record)}'


class _OutputFile:
    """An output file, streamed to the store and published whole; memory holds one part of the upload."""

    def __init__(self, buckets: Buckets, location: Location, *, early: bool) -> None:
        """
        Args:
            early: Whether the first part of the file is visible before it is closed.
        """
        self._store = buckets.store(location.bucket)
        self._key = location.key
        self._writer = obstore.open_writer(self._store, self._key, buffer_size=WRITE_BUFFER_BYTES, max_concurrency=2)
        self._early: bytes | None = b"" if early else None

    def write(self, text: str) -> None:
        data = text.encode("utf-8", "replace")
        self._writer.write(data)
        if self._early is not None and data:
            self._early += data
            obstore.put(self._store, self._key, self._early)
            if len(self._early) > EARLY_BYTES:
                self._early = None

    def close(self) -> None:
        """Publish the file; without it, only an early part remains."""
        self._writer.close()


def output_names(files: list[InputFile]) -> Iterator[tuple[InputFile, str]]:
    """
    The files of a job with the names of their outputs in the job's folder: the file's own name.

    Files of one name keep their folders below the deepest one that all files share, so that none replaces another's
    output; how AWS names them nobody has reported.
    """
    repeated = Counter(file.name for file in files)
    folders = [file.location.key.split("/")[:-1] for file in files]
    n_shared = sum(1 for _ in takewhile(lambda names: len(set(names)) == 1, zip(*folders, strict=False)))
    for file, folder in zip(files, folders, strict=True):
        kept = folder[n_shared:] if repeated[file.name] > 1 else []
        yield file, "/".join((*kept, f"{file.name}.out"))


def write_manifest(buckets: Buckets, job: Job, manifest: str) -> None:
    """Publish a job's manifest beside its output."""
    location = locate(job.output_uri).join(job.job_id).join("manifest.json.out")
    obstore.put(buckets.store(location.bucket), location.key, manifest.encode())


def _not_processed() -> Reply | RecordError:
    return RecordError("This record was not processed.")


def _echo(record: Record) -> str:
    try:
        return dump(record.model_input)
    except ValueError:  # 1e999 was read as infinity, which JSON cannot spell
        return "{}"


def _tail(record: Record) -> str:
    return f'"recordId":{dump(record.record_id)}}}\n'


def _error_line(record: Record, error: JsonObject) -> str:
    return f'{{"modelInput":{_echo(record)},"error":{dump(error)},{_tail(record)}'


def _expired_line(record: Record) -> str:
    error: JsonObject = {
        "errorCode": 400,
        "errorMessage": "This record was not processed before the batch inference job expired.",
        "expired": True,
        "retryable": False,
    }
    return _error_line(record, error)
