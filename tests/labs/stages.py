"""What the tests of the stages share: pipelines over small files, and output lines as Bedrock writes them."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from bedrock_assets.aws.job import Job, JobStatus
from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.dataset.ingest import ingest
from bedrock_assets.outputs.collect import MANIFEST, Collected, Collector
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.shards.format import format_shard
from bedrock_assets.storage.keys import attempt_folder
from bedrock_assets.storage.manifests import RawManifest, ShardManifest
from bedrock_assets.storage.store import Store

HAIKU = "anthropic.claude-haiku-4-5-20251001-v1:0"
TITAN = "amazon.titan-embed-text-v2:0"
JOB_IDS = ("aaaaaaaaaaa1", "bbbbbbbbbbb2", "ccccccccccc3")
"""Of the jobs of attempts 1, 2 and 3."""

Row = dict[str, Any]


class MakePipeline(Protocol):
    """Writes a frame to a Parquet file and makes a pipeline of it; keywords replace parts of the spec."""

    def __call__(self, frame: pl.DataFrame, **overrides: Any) -> Pipeline: ...


def build_pipeline(path: Path, **overrides: Any) -> Pipeline:
    """A pipeline `calls` over the file *path*; `id_column` and `prompt` are short for `source` and `task`."""
    source = {"path": str(path), "id_column": overrides.pop("id_column", None)}
    prompt = overrides.pop("prompt", "Say {text}")
    spec: Row = {
        "name": "calls",
        "source": source,
        "model": HAIKU,
        "task": {"text": {"prompt": prompt}},
        "limits": {"min_records_per_job": 1, "max_jobs": 1},
    }
    return Pipeline(PipelineSpec.model_validate(spec | overrides), path.parent)


def texts(n_rows: int) -> pl.DataFrame:
    """Rows with an id and a text of their own."""
    return pl.DataFrame({"id": [f"c{i}" for i in range(n_rows)], "text": [f"call {i}" for i in range(n_rows)]})


def ok(record_id: str, text: str = "fine") -> Row:
    """A line with an answer of Claude."""
    usage = {"input_tokens": 10, "output_tokens": 3}
    content = [{"type": "text", "text": text}]
    return {"recordId": record_id, "modelOutput": {"content": content, "stop_reason": "end_turn", "usage": usage}}


def failed(record_id: str, code: int | str = 400, message: str = "bad", **more: Any) -> Row:
    """A line with an error."""
    return {"recordId": record_id, "modelInput": {}, "error": {"errorCode": code, "errorMessage": message, **more}}


def jsonl(lines: Iterable[Mapping[str, Any] | str]) -> bytes:
    """Lines as Bedrock writes them, non-ASCII raw; a string is a line as it is."""
    told = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines]
    return "".join(f"{line}\n" for line in told).encode()


def job_of(attempt: int = 1, status: JobStatus = JobStatus.COMPLETED, message: str | None = None) -> Job:
    """The ended job of an attempt."""
    arn = f"arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/{JOB_IDS[attempt - 1]}"
    return Job(arn, f"ba-calls-{attempt}", status, HAIKU, datetime(2026, 11, 1, tzinfo=UTC), message)


@dataclass
class Stages:
    """A pipeline whose shards are formatted, and whose jobs the test plays."""

    pipeline: Pipeline
    store: Store
    raw: RawManifest
    shards: list[ShardManifest]

    @classmethod
    def of(cls, pipeline: Pipeline, store: Store) -> "Stages":
        """Ingest the source and format all shards."""
        raw = ingest(pipeline, store)
        return cls(pipeline, store, raw, [format_shard(pipeline, store, raw, shard) for shard in raw.shards])

    def sent(self, shard: int = 0) -> list[Row]:
        """The records of a shard's JSONL file."""
        return [json.loads(line) for line in self.store.get(self.shards[shard].prompts).splitlines()]

    def ids(self, shard: int = 0) -> list[str]:
        """Their ids."""
        return [record["recordId"] for record in self.sent(shard)]

    def write(
        self, content: bytes, shard: int = 0, attempt: int = 1, name: str | None = None, manifest: bytes | None = None
    ) -> None:
        """Play Bedrock: write a job's output, and its manifest."""
        of = self.shards[shard]
        folder = attempt_folder("calls", of.shard.key, of.fingerprint, attempt) + f"/{JOB_IDS[attempt - 1]}"
        self.store.put(f"{folder}/{name or of.fingerprint + '.jsonl.out'}", content)
        if manifest is not None:
            self.store.put(f"{folder}/{MANIFEST}", manifest)

    def collect(self, attempt: int = 1, status: JobStatus = JobStatus.COMPLETED, shard: int = 0) -> Collected:
        """The answers of a shard after an attempt whose job ended with a status."""
        jobs = [job_of(number).arn for number in range(1, attempt + 1)]
        ended = f"job {JOB_IDS[attempt - 1]} ended as {status}"
        return Collector(self.pipeline.workload, self.store, self.shards[shard]).collect(jobs, ended)

    def answer_all(self, say: Callable[[str], str] = "to {}".format) -> None:
        """Answer every record by its id, the last first, and collect and publish every shard."""
        for index, shard in enumerate(self.shards):
            self.write(jsonl([ok(record_id, say(record_id)) for record_id in reversed(self.ids(index))]), index)
            Collector(self.pipeline.workload, self.store, shard).publish(self.collect(shard=index))

    def parts(self, keys: Sequence[str]) -> pl.DataFrame:
        """Parquet files of the store, one after the other."""
        return pl.concat([pl.read_parquet(self.store.path(key)) for key in keys])
