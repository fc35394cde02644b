"""What the catalogue of models means for a launch: refused at load, by the pre-flight, or for the model's age."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from bedrock_assets.errors import ConfigError
from bedrock_assets.jobs.ledger import RequestState
from tests.jobs.test_preflight import DEPRECATED, failure, prepare
from tests.labs.dispatch import Lab, open_lab

OPUS_5, CLAUDE_3 = "us.anthropic.claude-opus-5", "anthropic.claude-3-haiku-20240307-v1:0"
COLD: dict[str, Any] = {"text": {"prompt": "Summarise: {transcript}", "temperature": 0.2}}


def test_a_parameter_that_the_model_refuses(tmp_path: Path) -> None:
    """At load by the catalogue; without that fact by the pre-flight, in the model's words, before a job is created."""
    (tmp_path / "known").mkdir()
    with (
        pytest.raises(ConfigError, match="temperature: Claude Opus 5 refuses temperature in every record"),
        open_lab(tmp_path / "known", n_rows=20, model=OPUS_5, task=COLD),
    ):
        pass
    (tmp_path / "forgotten").mkdir()
    settings: dict[str, Any] = {"n_rows": 20, "preflight": True, "model": OPUS_5, "task": COLD}
    with open_lab(tmp_path / "forgotten", **settings, model_facts={"refuses": []}) as lab:
        prepare(lab)
        assert not lab.materialize("batch_outputs", tags=lab.span)
        assert DEPRECATED in failure(lab)
        assert (lab.states, lab.jobs(), lab.n_invoked) == ({}, [], 0)


def test_an_ended_model_is_not_paid_for(tmp_path: Path) -> None:
    """A launch is refused before anything is sent, and goes on once the YAML allows it."""
    with open_lab(tmp_path, n_rows=20, model=CLAUDE_3) as lab:
        prepare(lab)
        assert not lab.materialize("batch_outputs", tags=lab.span)
        assert "ended its life on 2026-09-10. Nothing was sent" in last_error(lab)
        assert (lab.states, lab.jobs(), lab.n_invoked) == ({}, [], 0)
        allowed = lab.pipeline.spec.model_copy(update={"on_retired": "warn"})
        lab.pipeline = type(lab.pipeline)(allowed, lab.pipeline.folder)
        assert lab.materialize("batch_outputs", tags=lab.span)
        assert set(lab.finish().values()) == {RequestState.ANSWERED}


def last_error(lab: Lab) -> str:
    """The innermost error of the last run that failed."""
    (run,) = lab.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]), limit=1)
    (log,) = lab.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    told = log.get_dagster_event().step_failure_data.user_failure_data
    assert told
    assert told.metadata["kind"].value == "RetiredModel", told.description
    return told.description or ""
