"""What attempts left unanswered becomes the next one, by the inference mode that fits its size."""

import json

import polars as pl
import pytest

from bedrock_assets.jobs.attempts import ShardAttempts, mode_for
from bedrock_assets.jobs.shard_request import Request
from bedrock_assets.shards.remainder import write_remainder
from bedrock_assets.storage.manifests import InferenceMode
from bedrock_assets.storage.store import Store
from tests.labs.stages import MakePipeline, Stages, job_of, texts


@pytest.fixture
def stages(store: Store, make_pipeline: MakePipeline) -> Stages:
    """One formatted shard of six rows `c0` to `c5`, of which `c4` has no record."""
    frame = texts(6).with_columns(text=pl.when(pl.col("id") != "c4").then("text"))
    return Stages.of(make_pipeline(frame, id_column="id"), store)


def test_the_remainder_is_the_unanswered_records(stages: Stages) -> None:
    """The next attempt's file has the records that are asked for, byte for byte and in order."""
    key, n_records = write_remainder(stages.store, stages.pipeline, stages.shards[0], 2, pl.Series(["c5", "c0", "c2"]))
    first = stages.store.get(stages.shards[0].prompts).splitlines(keepends=True)
    assert stages.store.get(key) == b"".join([first[0], first[2], first[4]])
    assert n_records == 3
    assert key.endswith(f"{stages.shards[0].fingerprint}-2.jsonl")


@pytest.mark.parametrize(
    ("on_small", "n_records", "inference_mode"),
    [
        ("error", 3, None),
        ("error", 4, InferenceMode.BATCH),
        ("pad", 3, InferenceMode.BATCH),
        ("on_demand", 3, InferenceMode.ON_DEMAND),
        ("on_demand", 4, InferenceMode.BATCH),
    ],
)
def test_the_lane_fits_the_size(
    make_pipeline: MakePipeline, on_small: str, n_records: int, inference_mode: InferenceMode | None
) -> None:
    """From the minimum on records go into a job; below it `on_small` decides."""
    pipeline = make_pipeline(texts(5), limits={"min_records_per_job": 4}, on_small=on_small)
    assert mode_for(pipeline.workload, n_records) == inference_mode


def test_the_next_request(store: Store, make_pipeline: MakePipeline) -> None:
    """It has the next number, the inference mode that fits and the jobs before it; with nothing left there is none."""
    small = {"limits": {"min_records_per_job": 3}, "id_column": "id"}
    stages = Stages.of(make_pipeline(texts(5), **small), store)
    shard, arn, left = stages.shards[0], job_of().arn, pl.Series(["c1", "c3"])
    former = Request("calls", shard.shard.key, shard.fingerprint, 1, shard.prompts, 5, "run", storage_id=7)
    found = ShardAttempts(stages.pipeline.workload, store, shard).next_attempt(former, arn, left)
    assert found is not None
    assert (found.attempt, found.inference_mode, found.n_records, found.former_jobs) == (
        2,
        InferenceMode.ON_DEMAND,
        2,
        (arn,),
    )
    third = ShardAttempts(stages.pipeline.workload, store, shard).next_attempt(found, "", pl.Series(["c1"]))
    assert third is not None
    assert (third.attempt, third.former_jobs) == (3, (arn, ""))
    assert ShardAttempts(stages.pipeline.workload, store, shard).next_attempt(former, arn, left.clear()) is None
    strict = make_pipeline(texts(5), **small, on_small="error")
    assert ShardAttempts(strict.workload, store, shard).next_attempt(former, arn, left) is None
    assert not [file for file in store.files("calls/prompts") if file.key.endswith("-4.jsonl")]


def test_a_padded_remainder(store: Store, make_pipeline: MakePipeline) -> None:
    """With `pad` a remainder is sent together with copies; those of the first attempt are not taken for records."""
    limits = {"min_records_per_job": 6}
    stages = Stages.of(make_pipeline(texts(3), id_column="id", limits=limits, on_small="pad"), store)
    key, n_records = write_remainder(store, stages.pipeline, stages.shards[0], 2, pl.Series(["c0", "c2"]))
    ids = [json.loads(line)["recordId"] for line in store.get(key).splitlines()]
    assert (n_records, len(set(ids)), ids[:2]) == (6, 6, ["c0", "c2"])
    assert all(record_id.startswith("padding") for record_id in ids[2:])
