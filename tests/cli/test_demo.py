"""What the demo says while it runs, and at its end."""

import shlex
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from bedrock_assets.aws.job import Job, JobStatus
from bedrock_assets.cli.app import app
from bedrock_assets.local.demo import DemoResult
from bedrock_assets.local.following import Moment, Narrator
from bedrock_assets.local.report import open_line, share_lines, show
from bedrock_assets.storage.store import Store
from bedrock_assets.table.join import join_table
from tests.labs.stages import HAIKU, MakePipeline, Stages, texts

RUNNING = Job("arn", "a", JobStatus.IN_PROGRESS, "m", datetime(2026, 11, 1, tzinfo=UTC), n_processed=40)
ENDED = replace(RUNNING, status=JobStatus.COMPLETED, n_processed=100)
NOTHING = {"prompt_shards": 0, "batch_outputs": 0}
WRITTEN = {"prompt_shards": 2, "batch_outputs": 0}
MOMENTS = [
    (NOTHING, [], 200, "writing the prompts", ""),
    (WRITTEN, [], 200, "starting the first job", ""),
    (WRITTEN, [], 20, "asking for 20 answers one by one", ""),
    (WRITTEN, [RUNNING, RUNNING], 200, "the model answers", "2 jobs in flight, 0 of 2 shards fetched"),
    (WRITTEN, [ENDED], 200, "the model answers", "the next job starts soon, 0 of 2 shards fetched"),
    (WRITTEN, [ENDED, ENDED], 200, "fetching the answers", ""),
]


def test_each_moment_has_its_sentence() -> None:
    """Whatever is going on, one sentence says so, and each new one is one line with the time."""
    out = StringIO()
    with Narrator(Console(file=out, width=100)) as narrator:
        for done, jobs, n_records, step, detail in MOMENTS:
            moment = Moment.of(done, jobs, n_shards=2, n_records=n_records, min_records=100)
            assert (moment.step.startswith(step), moment.detail) == (True, detail), (step, moment)
            narrator.tell(moment)
            narrator.tell(moment)
    said = [line for line in out.getvalue().splitlines() if " s  " in line]
    assert len(said) == len(MOMENTS) - 1


def test_shares() -> None:
    """A bar for each value, the largest first; a value that no row has is there, and no rows are no error."""
    assert share_lines(["a", "bb", "c"], {"a": 1, "bb": 3}) == [
        f"bb  {'█' * 18:<24}  75%",
        f"a   {'█' * 6:<24}  25%",
        f"c   {'':<24}   0%",
    ]
    assert share_lines(["a"], {}) == [f"a  {'':<24}   0%"]


def test_the_last_lines(store: Store, make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows, tokens, cost and time in words, unknown where unknown, and a line that opens the table as it stands."""
    stages = Stages.of(make_pipeline(texts(10), id_column="id"), store)
    stages.answer_all()
    join_table(store, stages.pipeline, stages.raw)
    result = DemoResult("calls", "SUCCESS", 1, 10, 10, 10, 0, 0, True, 2, store.path("calls/table"), 125.0)
    out = StringIO()
    show(result, Console(file=out, width=120))
    told = out.getvalue()
    assert "rows       10 in, 10 out; every input row is in the table once" in told
    assert "tokens     unknown in, unknown out, in 2 jobs" in told
    assert "cost       unknown on AWS" in told
    assert "time       2 min 5 s" in told
    assert "SUCCESS" not in told
    monkeypatch.chdir(store.root)
    command = shlex.split(open_line(result))
    opened = subprocess.run([sys.executable, *command[1:]], capture_output=True, text=True, check=False)
    assert opened.stdout.startswith("shape: (10, "), opened.stderr


def test_a_pipeline_outside_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster would not load it, so nothing is started; the message says where it belongs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("id,text\n1,a\n")
    attributes = {"name": "x", "source": {"path": "a.csv"}, "model": HAIKU, "task": {"text": {"prompt": "Say {text}"}}}
    (tmp_path / "defs.yaml").write_text(
        yaml.safe_dump({"type": "bedrock_assets.BatchInference", "attributes": attributes})
    )
    result = CliRunner().invoke(app, ["demo", "defs.yaml"])
    assert result.exit_code == 2
    assert "defs.yaml: Dagster does not load it, as it is not in the demo" in result.stderr
    assert not (tmp_path / "bedrock-assets-demo").exists()
