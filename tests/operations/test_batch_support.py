"""`doctor --probe`: what Create says to a job without input, over the emulator's HTTP."""

from pathlib import Path

import pytest

from bedrock_assets.aws.job import JobStatus
from bedrock_assets.config.target import Target
from bedrock_assets.emulator import Faults
from bedrock_assets.operations.batch_support import CONTROL, REFUSALS, probe_batch
from bedrock_assets.operations.probes import CheckResult
from tests.cli.test_commands import desk, run, told
from tests.labs.dispatch import Lab, open_lab
from tests.labs.stages import HAIKU

OPUS = "us.anthropic.claude-opus-5-v1:0"
CREATE = frozenset({"Create"})


def probed(lab: Lab, *models: str, control: str = CONTROL) -> list[CheckResult]:
    """The results for some models; the first is the control's."""
    regions = lab.bedrock_resource.open(lab.store)
    return list(probe_batch(regions.home, lab.store, [Target(model=model) for model in models], control))


def refusing(message: str, model: str | None = HAIKU, **more: object) -> Faults:
    """Create is refused for a model with a message."""
    only = {"only_models": model, "only_operations": CREATE, "refusal_message": message}
    return Faults.model_validate(only | more)


def test_what_is_accepted_costs_nothing(tmp_path: Path) -> None:
    """A job on a prefix that does not exist ends without a record, whether it is stopped or fails first."""
    with open_lab(tmp_path, n_rows=2) as lab:
        control, result = probed(lab, HAIKU)
        assert (control.status, result.status) == ("ok", "ok")
        assert "was accepted; it has no input, was stopped, and costs nothing" in result.message
        jobs = lab.wait_for_jobs()
        assert {job.model for job in jobs} == {CONTROL, HAIKU}
        assert {job.status for job in jobs} <= {JobStatus.STOPPED, JobStatus.FAILED}
        assert [(job.n_total, job.n_processed) for job in jobs] == [(0, 0)] * 2
        assert lab.store.files("doctor-probe") == []


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.words)
def test_a_model_that_may_not_run_is_told(tmp_path: Path, refusal: tuple[str, str, str]) -> None:
    """Each message of AWS about a model fails its check, with what it means and what to do; the control is accepted."""
    words, meaning, cure = refusal
    with open_lab(tmp_path, n_rows=2, faults=refusing(f"{words}. Please create a support case.")) as lab:
        control, result, other = probed(lab, HAIKU, OPUS)
        assert (control.status, result.status, other.status) == ("ok", "fail", "ok")
        assert result.message.startswith(f"{meaning} (the control model {CONTROL} is accepted): ")
        assert words in result.message
        assert result.fix == cure


@pytest.mark.parametrize(
    ("message", "error", "cure"),
    [
        ("Cross-account pass role is not allowed", "AccessDeniedException", "a role of the account in which"),
        ("User: x is not authorized to perform: iam:PassRole on resource: y", "AccessDeniedException", "caller_policy"),
    ],
)
def test_a_fault_of_the_role_is_no_models(tmp_path: Path, message: str, error: str, cure: str) -> None:
    """What every model is refused for fails the control's check, and leaves the model's unknown."""
    with open_lab(tmp_path, n_rows=2, faults=refusing(message, None, refusal=error)) as lab:
        control, result = probed(lab, HAIKU)
        assert (control.status, result.status) == ("fail", "unknown")
        assert cure in control.fix


def test_the_same_answer_is_not_about_the_model(tmp_path: Path) -> None:
    """Where Create looks at the input first, the model that gets the control's answer has passed; another has not."""
    said = "Could not validate ListBucket permissions for S3URI"
    with open_lab(tmp_path, n_rows=2, faults=refusing(said, None)) as lab:
        control, result = probed(lab, HAIKU)
        assert (control.status, result.status) == ("warn", "ok")
        assert "the control model gets the same answer" in result.message
        lab.emulator.set_faults(refusing(said))
        control, result = probed(lab, HAIKU)
        assert (control.status, result.status) == ("ok", "unknown")


def test_a_control_that_fails_is_not_trusted(tmp_path: Path) -> None:
    """An account without any entitlement, or a Region without the control model: the answer says to name another."""
    said = "Your account is not authorized to perform this action. Please create a support case"
    with open_lab(tmp_path, n_rows=2, faults=refusing(said, None)) as lab:
        control, result = probed(lab, HAIKU)
        assert (control.status, result.status) == ("warn", "fail")
        assert "--control" in control.fix
        assert "(the control model" not in result.message


def test_what_is_not_reached_is_unknown(tmp_path: Path) -> None:
    """Throttled, nothing is told."""
    with open_lab(tmp_path, n_rows=2, faults=Faults(throttle_rate=1, only_operations=CREATE)) as lab:
        assert [result.status for result in probed(lab, HAIKU)] == ["unknown", "unknown"]


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is created without --probe; with it each model is asked once beside the control, and a refusal is a 1."""
    faults = refusing("Batch inference is not supported for the requested model.", r"^anthropic\.")
    with desk(tmp_path, monkeypatch, n_rows=2, faults=faults) as (lab, path):
        told("doctor", path, code=1)
        assert lab.jobs() == []
        found = {finding["check"]: finding for finding in told("doctor", path, "--probe", code=1)}
        assert found[f"control model {CONTROL}"]["status"] == "ok"
        assert found[f"batch support of {HAIKU}"]["status"] == "fail"
        assert [job.model for job in lab.jobs()] == [CONTROL]
        output = run("doctor", path, "--control", "us.amazon.nova-lite-v1:0").output
        assert "control model us.amazon.nova-lite-v1:0" in output
