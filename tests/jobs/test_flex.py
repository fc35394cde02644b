"""`on_small: flex`: few records are answered in the flex tier, by models that have it, over the emulator's HTTP."""

import json
from pathlib import Path
from typing import Any

import boto3
import pytest

from bedrock_assets.config.inbox import InboxSpec
from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.dataset.plan import Block, plan_shards
from bedrock_assets.errors import ConfigError
from bedrock_assets.inbox.inbox import Inbox
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.limits import JobLimits
from bedrock_assets.models import find_model
from bedrock_assets.prices import price_of
from bedrock_assets.storage.manifests import TokenCount
from tests.jobs.test_budget import metadata, spec
from tests.labs.dispatch import open_lab, pipeline_of
from tests.labs.stages import HAIKU

NOVA_PRO, GPT = "us.amazon.nova-pro-v1:0", "openai.gpt-oss-120b-1:0"
SMALL: dict[str, Any] = {"n_rows": 3, "on_small": "flex", "limits": JobLimits(min_records_per_job=100)}
OWN = {"input_usd_per_mtok": 100, "output_usd_per_mtok": 200, "flex_factor": 0.25}


@pytest.mark.parametrize("kind", ["InvokeModel", "Converse"])
def test_calls_ask_for_the_tier(tmp_path: Path, kind: str) -> None:
    """Both operations send it, and the answers are read as ever; Converse says by which tier it was answered."""
    with open_lab(tmp_path, **SMALL, model=NOVA_PRO, model_invocation_type=kind) as lab:
        lab.ask()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert (lab.jobs(), lab.n_invoked) == ([], 3)
        assert set(lab.outputs(lab.shards[0])["status"]) == {"ok"}
        if kind == "Converse":
            answers = [json.loads(lab.store.get(f.key)) for f in lab.store.files("calls/jobs")]
            assert {answer["modelOutput"]["serviceTier"]["type"] for answer in answers} == {"flex"}


def test_a_model_that_lacks_the_tier_refuses_the_call(tmp_path: Path) -> None:
    """The emulator shows that the tier is sent: a model that is not known to lack it, and does, refuses each record."""
    with open_lab(tmp_path, **SMALL, model="us.amazon.nova-lite-v1:0") as lab:
        lab.ask()
        assert set(lab.finish().values()) == {RequestState.FAILED}
        assert "service tier is not supported" in (lab.ledger.entries[lab.shards[0]].message or "")


def test_the_emulator_names_the_tier(tmp_path: Path) -> None:
    """InvokeModel's header says which tier answered; without one it is the default."""
    with open_lab(tmp_path, n_rows=1) as lab:
        keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": "us-east-1"}
        client = boto3.client("bedrock-runtime", endpoint_url=lab.emulator.endpoint_url, **keys)
        body = json.dumps({"messages": [{"role": "user", "content": "Hi."}], "max_tokens": 9})
        asked = client.invoke_model(modelId=GPT, body=body, serviceTier="flex")
        assert asked["serviceTier"] == "flex"
        assert client.invoke_model(modelId=GPT, body=body)["serviceTier"] == "default"
        client.close()


def test_it_is_refused_at_load() -> None:
    """A model without the tier stops the pipeline and the inbox from loading, with the cure; a new one does not."""
    with pytest.raises(ConfigError, match="has no flex tier; set `on_small: on_demand`"):
        pipeline_of(Path(), on_small="flex", source={"asset": "calls"})
    settings = {"name": "desk", "model": HAIKU, "on_small": "flex"}
    with pytest.raises(ConfigError, match="has no flex tier"):
        Inbox(InboxSpec.model_validate(settings))
    assert Inbox(InboxSpec.model_validate(settings | {"model": GPT})).spec.on_small == "flex"
    found = [find_model(model) for model in (NOVA_PRO, HAIKU, "cohere.embed-v4:0", "acme.new-v1")]
    assert [model and model.flex for model in found] == [True, False, False, None]


def test_its_price_is_told_or_said_to_be_unknown(tmp_path: Path) -> None:
    """With `flex_factor` calls cost that share; without it the full price is shown, and that it is less."""
    calls = {"on_demand": TokenCount(1_000_000, 0)}
    own = price_of(spec(model=GPT, on_small="flex", price=OWN))
    assert own is not None
    assert (own.cost_usd(calls), own.standard.cost_usd(calls), own.cost_usd({"batch": TokenCount(1_000_000, 0)})) == (
        25,
        100,
        50,
    )
    listed, full = price_of(spec(model=NOVA_PRO, on_small="flex")), price_of(spec(model=NOVA_PRO))
    assert listed is not None
    assert full is not None
    assert listed.cost_usd(calls) == full.cost_usd(calls)
    assert "calls in the flex tier cost less than shown" in listed.source
    assert "flex" not in full.source
    with open_lab(tmp_path, **SMALL, model=NOVA_PRO, price=OWN) as lab:
        lab.ask()
        lab.finish()
        told = metadata(lab, "batch_outputs", lab.shards[0])
        expected = (told["input_tokens"] * 100 + told["output_tokens"] * 200) / 4e6
        assert told["cost_usd"] == pytest.approx(expected, rel=1e-5)


def test_few_records_are_planned() -> None:
    """As with `on_demand` a shard may be smaller than a job."""
    limits = JobLimits(min_records_per_job=100, max_records_per_job=150)
    assert [shard.n_rows for shard in plan_shards([Block(5, 5, 5)], limits, on_small="flex")] == [5]


def test_the_key_is_one_of_four() -> None:
    """A wrong value names those that there are."""
    with pytest.raises(ValueError, match="'on_demand', 'flex', 'pad' or 'error'"):
        PipelineSpec.model_validate(spec().model_dump(by_alias=True) | {"on_small": "cheap"})
