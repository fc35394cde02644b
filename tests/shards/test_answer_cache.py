"""Only what has no answer is sent: copies, earlier answers, other shards' answers, and what becomes of them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from bedrock_assets.dataset.ingest import ingest
from bedrock_assets.emulator import Faults
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.limits import JobLimits
from bedrock_assets.outputs.collect import Collector
from bedrock_assets.pipeline.records import KEY
from bedrock_assets.shards.answer_cache import PromptIndex, answers_folder, answers_key, read_prompt_index
from bedrock_assets.shards.format import format_shard
from bedrock_assets.shards.remainder import write_remainder
from bedrock_assets.storage.store import Store
from tests.labs.dispatch import Lab, open_lab
from tests.labs.stages import HAIKU, MakePipeline, Stages, jsonl, ok

FEW = JobLimits(min_records_per_job=1, max_records_per_job=5, max_jobs=1)
HELLO = pl.DataFrame({"id": [f"r{i}" for i in range(10)], "text": ["hello", "bye", "hello", "x", "y"] * 2})


def digits(number: int) -> str:
    """A key."""
    return f"{number:032x}"[::-1]


@given(st.lists(st.lists(st.integers(0, 60), max_size=40), max_size=12), st.lists(st.integers(0, 80), max_size=30))
def test_a_key_is_found_in_its_first_file(added: list[list[int]], asked: list[int]) -> None:
    """However many keys are added in whatever pieces, each is found in the file it was added with first."""
    known, model = PromptIndex(), dict[int, str]()
    for i, numbers in enumerate(added):
        known.add(pl.Series(map(digits, numbers), dtype=pl.String), f"file{i}")
        model = dict.fromkeys(numbers, f"file{i}") | model
    found = known.find(pl.Series(KEY, map(digits, asked), dtype=pl.String))
    assert found.to_list() == [model.get(number) for number in asked]


def test_a_key_says_all_that_the_model_is_told(make_pipeline: MakePipeline) -> None:
    """Another prompt, system prompt, model or parameter is another key; another id, or column, is not."""
    frame = pl.DataFrame({"text": ["a", "a", "b"], "record_id": ["1", "2", "3"], "other": [1, 2, 3]})

    def keys(**overrides: object) -> list[str]:
        return make_pipeline(frame.drop("record_id"), **overrides).records.make(frame, keyed=True)[KEY].to_list()

    def text(**more: object) -> dict[str, object]:
        return {"task": {"text": {"prompt": "Say {text}", **more}}}

    plain = keys(**text())
    assert plain[0] == plain[1] != plain[2]
    variants = [
        text(system="s"),
        text(system="{other}"),
        text(max_tokens=7),
        text(temperature=0.5),
        text(prompt="{text}"),
    ]
    others = [keys(**variant) for variant in variants]
    others += [
        keys(**text(), model="anthropic.claude-3-opus-20240229-v1:0"),
        keys(**text(), model="amazon.nova-lite-v1:0"),
    ]
    assert len({plain[0], *(other[0] for other in others)}) == 1 + len(others)


def two_shards(make_pipeline: MakePipeline, store: Store, frame: pl.DataFrame = HELLO) -> Stages:
    """Two shards of five rows, formatted together, answers of earlier runs included."""
    pipeline = make_pipeline(frame, id_column="id", model=HAIKU, limits=FEW.model_dump())
    raw, known = ingest(pipeline, store), read_prompt_index(store, pipeline)
    return Stages(pipeline, store, raw, [format_shard(pipeline, store, raw, shard, known) for shard in raw.shards])


def test_the_same_prompt_is_sent_once(make_pipeline: MakePipeline, store: Store) -> None:
    """Within a shard and across shards a prompt is sent for one row, and every row that has it has its answer."""
    stages = two_shards(make_pipeline, store)
    assert (stages.ids(0), stages.ids(1)) == (["r0", "r1", "r3", "r4"], [])
    assert [shard.blocked_by for shard in stages.shards] == ["0", "1"]
    assert [(shard.n_duplicates, shard.n_reused) for shard in stages.shards] == [(1, 0), (1, 4)]
    stages.answer_all()
    rows = stages.parts(["calls/outputs/00000-of-00002.parquet", "calls/outputs/00001-of-00002.parquet"])
    assert rows["response"].to_list() == ["to r0", "to r1", "to r0", "to r3", "to r4"] * 2
    first = ["batch", "batch", "duplicate", "batch", "batch"]
    assert rows["answer_source"].to_list() == [*first, "cache", "cache", "duplicate", "cache", "cache"]
    assert set(rows["status"]) == {"ok"}
    assert rows["attempt"].to_list() == [1] * 5 + [None] * 5


def test_an_answer_that_does_not_come_is_asked_for(make_pipeline: MakePipeline, store: Store) -> None:
    """Where another shard fails to bring an answer, the row is missing and its record can be sent."""
    stages = two_shards(make_pipeline, store)
    collected = stages.collect(shard=1)
    assert collected.unanswered.to_list() == ["r5", "r6", "r8", "r9"]
    assert set(collected.rows["status"]) == {"missing"}
    key, n_records = write_remainder(store, stages.pipeline, stages.shards[1], 2, collected.unanswered)
    assert n_records == len(store.get(key).splitlines()) == 4


def test_answers_are_used_again(make_pipeline: MakePipeline, store: Store) -> None:
    """Rows in another order, another cut, with a new one among them: only the new one is sent."""
    two_shards(make_pipeline, store).answer_all()
    new = pl.DataFrame({"id": ["new"], "text": ["new"]})
    stages = two_shards(make_pipeline, store, pl.concat([HELLO.reverse(), new]))
    assert [stages.ids(i) for i in range(len(stages.shards))] == [[], [], ["new"]]
    stages.answer_all()
    keys = [f"calls/outputs/{shard.shard.key}.parquet" for shard in stages.shards]
    rows = stages.parts(keys)
    assert rows.filter(pl.col("record_id") == "r7")["response"].to_list() == ["to r0"]
    assert rows["answer_source"].to_list().count("batch") == 1
    assert set(rows["status"]) == {"ok"}


def test_errors_are_not_used_again(make_pipeline: MakePipeline, store: Store) -> None:
    """Only answers are kept: what failed is sent again with the next dataset."""
    stages = two_shards(make_pipeline, store)
    stages.write(jsonl([ok("r0", "to r0")]))
    Collector(stages.pipeline.workload, store, stages.shards[0]).publish(stages.collect())
    later = two_shards(make_pipeline, store, HELLO.head(9))
    assert sorted(later.ids(0) + later.ids(1)) == ["r1", "r3", "r4"]


def test_a_shard_that_says_the_same_stays_as_it_is(make_pipeline: MakePipeline, store: Store) -> None:
    """Formatted again, before and after its answers came, it has the same records and fingerprint; fresh it has not."""
    stages = two_shards(make_pipeline, store)
    assert two_shards(make_pipeline, store).shards == stages.shards
    stages.answer_all()
    assert two_shards(make_pipeline, store).shards == stages.shards
    fresh = format_shard(stages.pipeline, store, stages.raw, stages.raw.shards[0], PromptIndex(), "run 2")
    assert fresh.fingerprint != stages.shards[0].fingerprint
    assert fresh.content == stages.shards[0].content
    assert not [file.key for file in store.files("calls/prompts") if "incoming" in file.key]


def test_old_answers_are_forgotten(make_pipeline: MakePipeline, store: Store) -> None:
    """After `reuse_answers_days` an answer is not used; a week later, when nobody can wait for it, it is deleted."""
    stages = two_shards(make_pipeline, store)
    stages.answer_all()
    (file,) = store.files(answers_folder("calls"))
    assert file.key == answers_key("calls", "00000-of-00002", stages.shards[0].fingerprint)
    now = datetime.now(UTC)
    assert len(read_prompt_index(store, stages.pipeline, now + timedelta(days=89))) == 4
    assert len(read_prompt_index(store, stages.pipeline, now + timedelta(days=91))) == 0
    assert store.exists(file.key)
    assert len(read_prompt_index(store, stages.pipeline, now + timedelta(days=99))) == 0
    assert not store.exists(file.key)


def rewrite(lab: Lab, change: pl.Expr) -> None:
    """Change the source's transcripts."""
    path = Path(lab.pipeline.spec.source.path or "")
    frame = pl.read_parquet(path)
    frame.with_columns(transcript=change).write_parquet(path)


def test_a_second_run_pays_nothing(tmp_path: Path) -> None:
    """Of an unchanged dataset nothing is sent; of a changed row that row alone, by the inference mode that fits."""
    with open_lab(tmp_path, n_rows=40) as lab:
        lab.ask_in_runs()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        n_jobs = len(lab.jobs())
        lab.ask_in_runs()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert (len(lab.jobs()), lab.n_invoked) == (n_jobs, 0)
        here = pl.col("id") == "c7"
        rewrite(lab, pl.when(here).then(pl.lit("something else")).otherwise("transcript"))
        lab.ask_in_runs()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert (len(lab.jobs()), lab.n_invoked) == (n_jobs, 1)
        assert lab.materialize("joined_table")
        table = pl.concat(
            pl.read_parquet(path) for path in sorted((tmp_path / "s3/bucket/calls/table").glob("*.parquet"))
        )
        assert set(table["status"]) == {"ok"}
        assert table.filter(here)["answer_source"].item() == "on_demand"


def test_shards_that_share_prompts(tmp_path: Path) -> None:
    """One call for a prompt that all rows of all shards have; the other shards are answered after the first."""
    with open_lab(tmp_path, n_rows=40) as lab:
        rewrite(lab, pl.lit("the same in every row"))
        lab.ask_in_runs()
        assert len(lab.tick_only().collect_runs.run_requests) == 1
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert (lab.jobs(), lab.n_invoked) == ([], 1)
        lanes = pl.concat([lab.outputs(shard) for shard in lab.shards])["answer_source"].value_counts()
        assert dict(lanes.iter_rows()) == {"on_demand": 1, "cache": 3, "duplicate": 36}


def test_a_shard_that_brings_nothing_holds_up_nobody(tmp_path: Path) -> None:
    """Where the shard that was to bring the answers fails, those that waited for it ask themselves."""
    with open_lab(tmp_path, n_rows=20, faults=Faults(fail_message="no access", fail_at="Validating")) as lab:
        rewrite(lab, pl.col("id").str.slice(-1))
        lab.ask_in_runs()
        lab.tick()
        assert len(lab.wait_for_jobs()) == 1
        lab.emulator.set_faults(Faults())
        assert lab.finish() == {lab.shards[0]: RequestState.FAILED, lab.shards[1]: RequestState.ANSWERED}
        assert set(lab.outputs(lab.shards[1])["answer_source"]) == {"batch"}
        assert lab.materialize("batch_outputs", lab.shards[0])
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert sum(job.n_success for job in lab.jobs()) == 20
