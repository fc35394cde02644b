"""One attempt at each kind of input: what becomes of it, or the error that ends it."""

import shutil
import signal
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import dagster as dg
import polars as pl
from dagster.components.core.component_tree import ComponentTreeException
from dagster.components.testing import create_defs_folder_sandbox
from typer.testing import CliRunner

from bedrock_assets.cli.app import app
from bedrock_assets.components.batch import BatchInference
from bedrock_assets.config.source import SourceSpec
from bedrock_assets.errors import BedrockAssetsError
from bedrock_assets.families import FAMILIES
from bedrock_assets.inbox.check_records import Lines
from bedrock_assets.outputs.parse import Answers
from bedrock_assets.pipeline.records import ERROR_CODE, LINE
from bedrock_assets.shards.format import format_shard
from bedrock_assets.sources import open_source
from bedrock_assets.storage.keys import raw_manifest_key, shard_manifest_key
from bedrock_assets.storage.manifests import RawManifest, ShardManifest
from bedrock_assets.storage.store import Store
from bedrock_assets.table.join import join_table, readiness
from tests.bad_inputs.memory import Peak, measured
from tests.labs.inbox import inbox_of
from tests.labs.stages import Stages, build_pipeline, texts

DEADLINE_S = 60
"""Far more than any of them takes on a busy machine."""
ROWS = "rows-of-the-case.csv"
"""Stands for the path of a file with three rows."""
Fate = Literal["refused", "error rows", "taken", "FAILED"]
"""An error of ours, rows with an error, no complaint, or what must not be."""
Attempt = Callable[[Path], Fate]


@dataclass(frozen=True)
class Case:
    """One bad input."""

    kind: str
    name: str
    attempt: Attempt


@dataclass(frozen=True)
class Outcome:
    """What became of it."""

    case: Case
    fate: Fate
    said: str
    """The error, in one line."""
    took_s: float
    peak: int
    """Bytes of memory that it took."""


class Hang(BaseException):
    """An attempt that did not end in time; not an `Exception`, so that no handler takes it for an ordinary error."""


def tried(case: Case, folder: Path, deadline_s: float = DEADLINE_S) -> Outcome:
    """Try a case in a folder of its own, under the deadline, and measure its memory."""
    folder.mkdir(parents=True)
    start, peak = time.monotonic(), Peak()
    fate: Fate
    try:
        with measured() as peak, _deadline(deadline_s):
            fate, said = case.attempt(folder), ""
    except BedrockAssetsError as error:
        fate, said = "refused", f"{type(error).__name__}: {error}"
    except (Exception, Hang) as error:
        fate, said = "FAILED", f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Outcome(case, fate, " ".join(said.split()), time.monotonic() - start, peak.n_bytes)


@contextmanager
def _deadline(deadline_s: float) -> Generator[None]:
    def end(_: int, __: FrameType | None) -> None:
        raise Hang(f"no end after {deadline_s} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, deadline_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def command(text: str | bytes) -> Attempt:
    """A defs.yaml over `ROWS`, as the command `plan` is given it: exit code 2 with one message, or none."""

    def attempt(folder: Path) -> Fate:
        path, rows = folder / "defs.yaml", folder / "rows.csv"
        content = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        path.write_bytes(content.replace(ROWS.encode(), str(rows).encode()))
        texts(3).write_csv(rows)
        result = CliRunner().invoke(app, ["plan", str(path)])
        said = result.output + (str(result.exception) if result.exception else "")
        if result.exit_code not in (0, 2) or "Traceback" in said:
            raise AssertionError(f"exit code {result.exit_code}: {result.exception!r} {said}")
        return "refused" if result.exit_code else "taken"

    return attempt


def code_location(attributes: dict[str, Any]) -> Attempt:
    """The attributes of a component, as Dagster loads them; our own error is below Dagster's."""

    def attempt(folder: Path) -> Fate:
        texts(3).write_parquet(folder / "rows.parquet")
        written = {"source": {"path": str(folder / "rows.parquet")}} | attributes
        contents = {"type": "bedrock_assets.BatchInference", "attributes": written}
        with redirect_stdout(StringIO()), create_defs_folder_sandbox() as sandbox:
            sandbox.scaffold_component(component_cls=BatchInference, defs_path="calls", defs_yaml_contents=contents)
            try:
                with sandbox.build_all_defs() as defs:
                    dg.Definitions.validate_loadable(defs)
            except ComponentTreeException as error:
                cause: BaseException | None = error
                while cause is not None and not isinstance(cause, BedrockAssetsError):
                    cause = cause.__cause__
                raise (cause or error) from error
        return "taken"

    return attempt


def call(function: Callable[[], Any]) -> Attempt:
    """Whatever a function says."""

    def attempt(_: Path) -> Fate:
        function()
        return "taken"

    return attempt


def source(name: str, content: bytes, **spec: Any) -> Attempt:
    """A file as a source: all its rows are read."""

    def attempt(folder: Path) -> Fate:
        (folder / name).write_bytes(content)
        opened = open_source(SourceSpec.model_validate({"path": str(folder / name), **spec}))
        opened.columns()
        for _ in opened.batches():
            pass
        return "taken"

    return attempt


def output(family: str, content: bytes) -> Attempt:
    """What a job wrote; nothing in it may end in an error, since it is paid for."""

    def attempt(_: Path) -> Fate:
        answers = Answers(FAMILIES[family])
        try:
            answers.add(content)
            outcomes = answers.outcomes()
        except BedrockAssetsError as error:
            raise AssertionError(f"an answer ends in an error: {error}") from error
        return "taken" if outcomes["status"].eq("ok").all() and len(outcomes) else "error rows"

    return attempt


def dropped(content: bytes) -> Attempt:
    """The content of a file in an inbox."""

    def attempt(_: Path) -> Fate:
        lines = Lines(inbox_of())
        lines.read(content)
        lines.all_ids()
        return "taken"

    return attempt


def attached(key: str, content: object, family: str = "converse") -> Attempt:
    """A value in a column of images or documents: a row with an error, or a refusal of the column."""

    def attempt(folder: Path) -> Fate:
        frame = pl.DataFrame({"text": ["x"], "file": pl.Series([content])})
        frame.write_parquet(folder / "rows.parquet")
        task = {"text": {"prompt": "{text}", key: ["file"]}}
        invocation = FAMILIES[family].invocation_type
        pipeline = build_pipeline(folder / "rows.parquet", task=task, model_invocation_type=invocation)
        made = pipeline.records.make(frame.with_columns(record_id=pl.lit("r")), keyed=True)
        assert made[LINE].is_null().item() == made[ERROR_CODE].is_not_null().item()
        return "taken" if made[ERROR_CODE].is_null().item() else "error rows"

    return attempt


def stored(pattern: str, damage: Callable[[bytes], bytes]) -> Attempt:
    """A file of the store that is damaged after its rows were answered; every stage then reads what is there."""

    def attempt(folder: Path) -> Fate:
        texts(4).write_parquet(folder / "rows.parquet")
        store = Store(str(folder / "bucket"))
        made = Stages.of(build_pipeline(folder / "rows.parquet"), store)
        made.answer_all()
        join_table(store, made.pipeline, made.raw)
        found = sorted(path for path in (folder / "bucket").rglob(pattern) if path.is_file())
        assert found, pattern
        for path in found:
            path.write_bytes(damage(path.read_bytes()))
        return _read_all(made, store)

    return attempt


def _read_all(made: Stages, store: Store) -> Fate:
    refusals = 0
    steps: list[Callable[[], object]] = [
        lambda: readiness(store, made.pipeline, made.raw),
        lambda: join_table(store, made.pipeline, made.raw),
        lambda: format_shard(made.pipeline, store, made.raw, made.raw.shards[0]),
        made.collect,
        lambda: store.read_model(raw_manifest_key("calls"), RawManifest),
        lambda: store.read_model(shard_manifest_key("calls", made.shards[0].shard.key), ShardManifest),
    ]
    for step in steps:
        try:
            step()
        except BedrockAssetsError:
            refusals += 1
    return "refused" if refusals else "taken"
