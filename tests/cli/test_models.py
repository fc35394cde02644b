"""The command `models`: the table, and the catalogue held against what an account says, over HTTP."""

from datetime import date
from pathlib import Path

import pytest

from bedrock_assets.cli.common import Environment
from bedrock_assets.models import Catalogue, catalogue
from bedrock_assets.operations.models import Difference, check_models
from bedrock_assets.operations.probes import Probe
from bedrock_assets.resources.environment import bedrock_resource
from tests.cli.test_commands import desk, run, told

TODAY = date(2026, 11, 26)


def test_the_table() -> None:
    """Models that can be used are shown with an id to copy; --all shows the others, too."""
    shown = {row["id"]: row for row in told("models", "haiku")}
    haiku = shown["us.anthropic.claude-haiku-4-5-20251001-v1:0"]
    assert (haiku["batch"], haiku["profile"], haiku["max_output"], haiku["thinking"]) == (
        True,
        True,
        64_000,
        "optional",
    )
    assert haiku["input_usd_per_mtok"] == pytest.approx(0.55)
    assert "anthropic.claude-3-haiku-20240307-v1:0" not in shown
    every = {row["id"]: row for row in told("models", "haiku", "--all")}
    assert every["anthropic.claude-3-haiku-20240307-v1:0"]["lifecycle"] == "ended, since 2026-09-10"
    table = run("models", "nova 2")
    assert table.exit_code == 0
    assert "us.amazon.nova-2-lite-v1:0" in table.stdout
    assert run("models", "nobody").stdout == ""


def changed(known: Catalogue, name: str, **facts: object) -> Catalogue:
    """The catalogue with other facts about one model."""
    models = (model.model_copy(update=facts) if model.name == name else model for model in known.models)
    return known.model_copy(update={"models": tuple(models)})


def test_the_account_is_held_against_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account that says the same is told as such; each fact that is old or wrong, and each new model, is a row."""
    with desk(tmp_path, monkeypatch) as (lab, _):
        same = run("models", "--check")
        assert (same.exit_code, same.stdout) == (0, "the account says the same of all models that it has\n")
        region = Environment().regions.home
        probe = Probe.of(region, lab.store, bedrock_resource())
        known = catalogue()
        known = changed(known, "Nova 2 Lite", profiles=("us", "ca"), images=False, profile=False)
        known = changed(known, "Llama 3.3 70B Instruct", end_of_life=date(2027, 1, 1))
        known = known.model_copy(update={"models": tuple(m for m in known.models if m.name != "GLM 5")})
        found = check_models(probe, TODAY, known)
    nova, llama = "amazon.nova-2-lite-v1:0", "meta.llama3-3-70b-instruct-v1:0"
    assert found == [
        Difference(nova, "profile", "no", "yes"),
        Difference(nova, "images", "no", "yes"),
        Difference(nova, "profiles", "us, ca", "eu.amazon.nova-2-lite-v1:0, global.amazon.nova-2-lite-v1:0, "
                   "jp.amazon.nova-2-lite-v1:0, us.amazon.nova-2-lite-v1:0"),
        Difference("zai.glm-5", "model", "not in it", "GLM 5 by zai"),
        Difference(llama, "end_of_life", "2027-01-01", "2027-03-30"),
    ]  # fmt: skip


def test_an_account_that_does_not_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the permission, the command names it."""
    with desk(tmp_path, monkeypatch) as (lab, _):
        lab.emulator.set_faults(lab.emulator.backend.faults.model_copy(update={"access_denied": True}))
        result = run("models", "--check")
    assert result.exit_code == 2
    assert "allow bedrock:ListFoundationModels and bedrock:ListInferenceProfiles" in result.stderr.replace("\n", " ")
