"""The second stage: a shard's rows become the JSONL that Bedrock reads."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_assets.dataset.ingest import ingest
from bedrock_assets.errors import StaleShard, TooFewRecords
from bedrock_assets.limits import JobLimits
from bedrock_assets.pipeline.ids import PADDING_ID
from bedrock_assets.pipeline.records import LINE
from bedrock_assets.shards.format import current_shard, encoded, format_shard
from bedrock_assets.storage.keys import shard_manifest_key
from bedrock_assets.storage.manifests import ShardManifest
from bedrock_assets.storage.store import Store
from tests.labs.stages import HAIKU, MakePipeline, Stages, build_pipeline, texts
from tests.labs.values import every_dtype


def fates(stages: Stages) -> list[tuple[str | None, ...]]:
    """Code and message of each row of the first shard."""
    return stages.parts([stages.shards[0].rows]).select("code", "message").rows()


def test_two_runs_write_the_same_bytes(tmp_path: Path, make_pipeline: MakePipeline) -> None:
    """The JSONL files of two runs on the same input are identical, and so are their manifests."""
    pipeline = make_pipeline(texts(30_000), prompt="{text}", limits={"max_records_per_job": 17_000, "max_jobs": 1})
    one, two = (Stages.of(pipeline, Store(str(tmp_path / name))) for name in ("one", "two"))
    assert one.shards == two.shards
    assert len(one.shards) == 2
    for shard in one.shards:
        assert one.store.get(shard.prompts) == two.store.get(shard.prompts)


def test_the_manifest_describes_the_file(store: Store, make_pipeline: MakePipeline) -> None:
    """Records, bytes, hash, model and prompt in the manifest are those of the file under its key."""
    task = {"text": {"prompt": "Say {text}", "temperature": 0.5, "max_tokens": 9}}
    stages = Stages.of(make_pipeline(texts(7), task=task), store)
    manifest = stages.shards[0]
    content = store.get(manifest.prompts)
    assert manifest.sha256 == hashlib.sha256(content).hexdigest()
    assert (manifest.n_bytes, manifest.n_records) == (len(content), content.count(b"\n")) == (len(content), 7)
    assert (manifest.n_rejected, manifest.n_padding, manifest.model) == (0, 0, HAIKU)
    assert manifest.parameters == {
        "max_tokens": 9,
        "temperature": 0.5,
        "stop_sequences": [],
        "images": [],
        "special_tokens": "error",
    }
    assert manifest.prompt_sha256 == hashlib.sha256(b"Say {text}").hexdigest()
    assert manifest.raw_revision == stages.raw.revision
    assert current_shard(store, "calls", "00000-of-00001") == manifest
    assert store.read_model(shard_manifest_key("calls", "00000-of-00001"), ShardManifest) == manifest


def test_each_row_is_a_line(store: Store, make_pipeline: MakePipeline) -> None:
    """Every line is one row's id and prompt, in order, whatever characters its values have."""
    frame = every_dtype()
    stages = Stages.of(make_pipeline(frame, prompt="{text}"), store)
    content = store.get(stages.shards[0].prompts)
    records = [json.loads(line) for line in content.removesuffix(b"\n").split(b"\n")]
    assert [r["modelInput"]["messages"][0]["content"][0]["text"] for r in records] == frame["text"].to_list()
    assert [r["recordId"] for r in records] == stages.parts([stages.shards[0].rows])["record_id"].to_list()


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "Tell {text}"},
        {"model": HAIKU.replace("haiku-4-5-20251001", "sonnet-4-5-20250929")},
        {"model_invocation_type": "Converse"},
    ],
)
def test_the_fingerprint_is_of_what_is_paid(store: Store, make_pipeline: MakePipeline, change: dict[str, Any]) -> None:
    """Another prompt, model or way of invoking it is another fingerprint and another file."""
    first = Stages.of(make_pipeline(texts(5)), store).shards[0]
    second = Stages.of(make_pipeline(texts(5), **change), store).shards[0]
    assert first.fingerprint != second.fingerprint
    assert first.prompts != second.prompts


def test_bad_rows_are_rejected_with_a_reason(store: Store, make_pipeline: MakePipeline) -> None:
    """A null, an empty and a too large row have no record and say why; the others of the shard are sent."""
    frame = pl.DataFrame({"text": ["good", None, " \n", "x" * 2_000, "fine"]})
    limits = {"min_records_per_job": 1, "max_bytes_per_record": 1_000}
    stages = Stages.of(make_pipeline(frame, prompt="{text}", limits=limits), store)
    codes, messages = zip(*fates(stages), strict=True)
    assert codes == (None, "null_value", "empty_prompt", "record_too_large", None)
    assert messages[1] == "null in a column that the prompt uses: text"
    assert re.fullmatch(r"the record has 21\d\d bytes, above 1000", messages[3] or "")
    assert (stages.shards[0].n_records, stages.shards[0].n_rejected) == (2, 3)
    assert len(stages.sent()) == 2


def test_a_null_in_the_system_prompt_counts(store: Store, make_pipeline: MakePipeline) -> None:
    """A null that only the system prompt uses rejects the row, and names both prompts' columns."""
    frame = texts(2).with_columns(role=pl.Series([None, "poet"]))
    task = {"text": {"prompt": "{text}", "system": "Be a {role}"}}
    stages = Stages.of(make_pipeline(frame, task=task), store)
    assert fates(stages) == [("null_value", "null in a column that the prompt uses: text, role"), (None, None)]


def test_nulls_and_nan_are_never_prompt_text(store: Store, make_pipeline: MakePipeline) -> None:
    """Without a default no prompt has `nan`, `None` or `null` in it; with one it stands in their place."""
    frame = pl.DataFrame({"text": ["a", None, "b"], "n": [1.0, 2.0, float("nan")]})
    sent = Stages.of(make_pipeline(frame, prompt="{text} {n}"), store).sent()
    assert [r["modelInput"]["messages"][0]["content"][0]["text"] for r in sent] == ["a 1.0"]
    task = {"text": {"prompt": "{text} {n}", "null_default": "?"}}
    sent = Stages.of(make_pipeline(frame, task=task), store).sent()
    assert [r["modelInput"]["messages"][0]["content"][0]["text"] for r in sent] == ["a 1.0", "? 2.0", "b ?"]


def test_padding(store: Store, make_pipeline: MakePipeline) -> None:
    """`pad` repeats records in order up to the minimum, under ids of their own that no row's id can be."""
    frame = pl.DataFrame({"key": ["a", "padding" + "0" * 26, "c", "d"], "text": ["1", "2", None, "4"]})
    limits = {"min_records_per_job": 8}
    stages = Stages.of(make_pipeline(frame, id_column="key", on_small="pad", limits=limits), store)
    sent = stages.sent()
    assert (stages.shards[0].n_records, stages.shards[0].n_padding) == (8, 5)
    assert len(set(stages.ids())) == 8
    assert [bool(re.fullmatch(PADDING_ID, record_id)) for record_id in stages.ids()] == [False] * 3 + [True] * 5
    inputs = [record["modelInput"] for record in sent]
    assert inputs == inputs[:3] + inputs[:3] + inputs[:2]


def test_too_few_records_in_a_shard(store: Store, make_pipeline: MakePipeline) -> None:
    """A shard that has come under the minimum is refused with its cure, and leaves no file."""
    raw = ingest(make_pipeline(texts(5)), store)
    pipeline = make_pipeline(texts(5), limits={"min_records_per_job": 6}, on_small="error")
    with pytest.raises(TooFewRecords, match=r"00000-of-00001 has 5 records, .* fewer than 6; .*on_small: on_demand"):
        format_shard(pipeline, store, raw, raw.shards[0])
    assert store.files("calls/prompts") == []


def test_a_prompt_that_has_grown(store: Store, make_pipeline: MakePipeline) -> None:
    """A shard that no longer fits one file is refused with its cure, and leaves no file."""
    limits = {"min_records_per_job": 1, "max_bytes_per_file": 2_000}
    raw = ingest(make_pipeline(texts(5), limits=limits), store)
    pipeline = make_pipeline(texts(5), limits=limits, prompt="Please " * 100 + "{text}")
    with pytest.raises(StaleShard, match=r"has \d+ bytes, above .*=2000: the prompt has grown .*calls/raw_dataset"):
        format_shard(pipeline, store, raw, raw.shards[0])
    assert store.files("calls/prompts") == []


def test_a_shard_without_prompts(store: Store) -> None:
    """A shard that is not formatted is named with what to materialize."""
    with pytest.raises(StaleShard, match="materialize calls/prompt_shards first"):
        current_shard(store, "calls", "00000-of-00001")


def test_quotas_hold_for_the_files(store: Store, make_pipeline: MakePipeline) -> None:
    """Planned by bytes, every file that is written is within records and bytes."""
    frame = texts(3_000).with_columns(text=pl.col("text") + "." * 200)
    bounds = JobLimits(max_records_per_job=2_000, min_records_per_job=100, max_bytes_per_file=300_000, max_jobs=1)
    stages = Stages.of(make_pipeline(frame, limits=bounds.model_dump()), store)
    assert sum(shard.n_records for shard in stages.shards) == 3_000
    for shard in stages.shards:
        assert 100 <= shard.n_records <= 2_000
        assert store.size(shard.prompts) == shard.n_bytes <= 300_000


@given(st.lists(st.text()), st.integers(0, 5), st.integers(0, 5))
def test_encoding_is_each_line_and_a_newline(lines: list[str], start: int, length: int) -> None:
    """The bytes are those of the strings, each ended by a newline, of a part of a column as well."""
    series = pl.Series(lines, dtype=pl.String).slice(start, length)
    assert bytes(encoded(series)) == "".join(f"{line}\n" for line in series).encode()


@given(st.lists(st.text(), min_size=1))
def test_a_record_is_one_line_of_json(values: list[str]) -> None:
    """Any text is one line, split on newlines only, from which the text is read back."""
    pipeline = build_pipeline(Path("none.parquet"), prompt="{text}")
    made = pipeline.records.make(pl.DataFrame({"text": values, "record_id": [f"r{i}" for i in range(len(values))]}))
    for text, line in zip(values, made[LINE], strict=True):
        if text.strip():
            assert "\n" not in line
            assert json.loads(line)["modelInput"]["messages"][0]["content"][0]["text"] == text
