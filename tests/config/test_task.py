"""Tasks whose prompt ships: what they ask, the columns they give, and the wrong ones that are refused."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from bedrock_assets.assets.checks import label_shares
from bedrock_assets.config.task import ClassifyTask, TaskSpec
from bedrock_assets.errors import PromptError
from bedrock_assets.pipeline.templates import SHIPPED, load_template
from bedrock_assets.storage.store import Store
from bedrock_assets.table.join import join_table
from bedrock_assets.table.preferences import join_preferences
from tests.labs.stages import MakePipeline, Stages

PAIRS = pl.DataFrame(
    {
        "id": [f"q{i}" for i in range(5)],
        "question": [f"Question {i}?" for i in range(5)],
        "old": [f"Old {i}." for i in range(5)],
        "new": [f"New {i}." for i in range(5)],
    }
)
COMPARE = {"compare": {"text": "{question}", "a": "{old}", "b": "{new}", "criteria": "Says more."}}


def prompts(stages: Stages) -> list[str]:
    """What the model is asked, of each record."""
    sent = [record for index in range(len(stages.shards)) for record in stages.sent(index)]
    return [record["modelInput"]["messages"][0]["content"][0]["text"] for record in sent]


def table(stages: Stages) -> pl.DataFrame:
    """The joined table."""
    manifest = join_table(stages.store, stages.pipeline, stages.raw)
    return stages.parts([part.key for part in manifest.parts])


def test_classify(make_pipeline: MakePipeline, store: Store) -> None:
    """Labels with braces and descriptions are in the prompt as they are; the answer is a column, its shares known."""
    task = {"classify": {"text": "{text}!", "labels": {"spam {x}": "unwanted", "ham": ""}, "instructions": "Be quick."}}
    frame = pl.DataFrame({"text": ["buy {now}", "hello", "dear", "sir"]})
    stages = Stages.of(make_pipeline(frame, task=task), store)
    first = prompts(stages)[0]
    assert "the one label that fits best" in first
    assert "\n- spam {x}: unwanted\n- ham\n" in first
    assert "<text>\nbuy {now}!\n</text>" in first
    assert first.endswith("Be quick.")
    answers = iter(["ham", "ham", "ham", "spam {x}"])
    stages.answer_all(lambda _: json.dumps({"label": next(answers)}))
    assert table(stages)["label"].to_list() == ["spam {x}", "ham", "ham", "ham"]
    classify = stages.pipeline.spec.task.classify
    manifest = join_table(store, stages.pipeline, stages.raw)
    assert classify
    assert label_shares(store, stages.pipeline, classify, manifest) == {"spam {x}": 0.25, "ham": 0.75}


def test_several_labels(make_pipeline: MakePipeline, store: Store) -> None:
    """A row may have several labels, or none; a share counts the rows that have the label."""
    task = {"classify": {"text": "{text}", "labels": ["a", "b", "c"], "several": True}}
    stages = Stages.of(make_pipeline(pl.DataFrame({"text": ["x", "y", "z", "w"]}), task=task), store)
    answers = iter([["a", "b"], ["a", "a"], [], "a"])
    stages.answer_all(lambda _: json.dumps({"labels": next(answers)}))
    found = table(stages)
    assert found.select("labels", "status").rows() == [
        (None, "error"),
        ([], "ok"),
        (["a", "a"], "ok"),
        (["a", "b"], "ok"),
    ]
    manifest = join_table(store, stages.pipeline, stages.raw)
    shares = label_shares(store, stages.pipeline, ClassifyTask.model_validate(task["classify"]), manifest)
    assert shares == {"a": 2 / 3, "b": 1 / 3, "c": 0}


def test_extract(make_pipeline: MakePipeline, store: Store) -> None:
    """Fields are typed columns; what is optional may be null."""
    fields = {"amount": {"type": "number", "optional": True}, "names": {"list": "string"}}
    task = {"extract": {"text": "{text}", "fields": fields}}
    stages = Stages.of(make_pipeline(pl.DataFrame({"text": ["Ann pays 3.5"]}), task=task), store)
    stages.answer_all(lambda _: json.dumps({"amount": None, "names": ["Ann"]}))
    assert table(stages).select("amount", "names", "status").rows() == [(None, ["Ann"], "ok")]


def test_judge(make_pipeline: MakePipeline, store: Store) -> None:
    """A score outside the scale is an error row; the criteria may name columns."""
    task = {"judge": {"text": "{text}", "criteria": "Fits {topic}.", "scale": [0, 10]}}
    frame = pl.DataFrame({"text": ["x", "y"], "topic": ["cats", "dogs"]})
    stages = Stages.of(make_pipeline(frame, task=task), store)
    assert ["Fits cats." in prompt for prompt in prompts(stages)] == [True, False]
    assert "from 0 (the worst) to 10 (the" in prompts(stages)[0]
    scores = iter([11, 0])
    stages.answer_all(lambda _: json.dumps({"reason": "so", "score": next(scores)}))
    assert table(stages).select("score", "reason", "error_code").rows() == [(0, "so", None), (None, None, "schema")]


def compared(make_pipeline: MakePipeline, store: Store, winners: dict[str, str], **more: Any) -> Stages:
    """Pairs, each judged in both orders; of ids that are not in *winners* there is no answer."""
    pipeline = make_pipeline(PAIRS, task=COMPARE, id_column="id", **more)
    stages = Stages.of(pipeline, store)
    wire = {made["recordId"]: text for i in range(len(stages.shards)) for made in stages.sent(i) for text in [made]}
    said = {key: json.dumps(made["modelInput"]) for key, made in wire.items()}

    def say(record_id: str) -> str:
        number = next(i for i in range(5) if f"Question {i}?" in said[record_id])
        shown = "a" if said[record_id].index(f"Old {number}.") < said[record_id].index(f"New {number}.") else "b"
        winner = winners.get(f"{number}{shown}", "?")
        return json.dumps({"reason": f"{number}{shown}", "winner": winner})

    stages.answer_all(say)
    return stages


def test_compare_asks_in_both_orders(make_pipeline: MakePipeline, store: Store) -> None:
    """Each pair is two rows and two prompts, which differ in the order of the texts alone."""
    stages = compared(make_pipeline, store, {})
    found = prompts(stages)
    assert len(found) == 10
    assert "<context>\nQuestion 0?\n</context>\n\n<first>\nOld 0.\n</first>\n\n<second>\nNew 0.\n</second>" in found[0]
    assert found[1] == found[0].replace("Old 0.", "@").replace("New 0.", "Old 0.").replace("@", "New 0.")
    rows = table(stages)
    assert rows["record_id"].to_list()[:3] == ["q0:a_first", "q0:b_first", "q1:a_first"]


@pytest.mark.parametrize("per_shard", [3, 4, 1000])
@pytest.mark.parametrize("prefix", ["", "llm_"])
def test_preferences(make_pipeline: MakePipeline, store: Store, per_shard: int, prefix: str) -> None:
    """One row a pair: who wins in both orders, whether a pair lies in one shard or in two."""
    winners = {"0a": "first", "0b": "second", "1a": "first", "1b": "first", "2a": "tie", "2b": "tie", "3a": "second"}
    winners |= {"4a": "second", "4b": "first"}
    limits = {"min_records_per_job": 1, "max_records_per_job": per_shard, "max_jobs": 1}
    stages = compared(make_pipeline, store, winners, limits=limits, output_prefix=prefix)
    found = join_preferences(store, stages.pipeline, join_table(store, stages.pipeline, stages.raw))
    rows = store.read_parquet(found.key)
    assert rows.columns[:4] == PAIRS.columns
    assert rows["id"].to_list() == PAIRS["id"].to_list()
    assert rows[f"{prefix}preferred"].to_list() == ["a", "inconsistent", "tie", "incomplete", "b"]
    assert rows[f"{prefix}winner_b_first"].to_list() == ["a", "b", "tie", None, "b"]
    assert rows[f"{prefix}reason_b_first"].to_list() == ["0b", "1b", "2b", None, "4b"]
    assert (found.n_pairs, found.n_first, found.n_answers) == (5, 4, 9)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "two tasks": ({"embedding": {"column": "x"}, **COMPARE}, "name exactly one of"),
    "one label": ({"classify": {"text": "{x}", "labels": ["a"]}}, "at least 2"),
    "share of nothing": (
        {"classify": {"text": "{x}", "labels": ["a", "b"], "shares": {"c": [0, 1]}}},
        "'c' is not a label; labels are: a, b",
    ),
    "no share": ({"classify": {"text": "{x}", "labels": ["a", "b"], "shares": {"a": [0.5, 0.1]}}}, "no share of 'a'"),
    "falling scale": ({"judge": {"text": "{x}", "criteria": "y", "scale": [5, 1]}}, "the worst score comes first"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_task_is_refused(name: str) -> None:
    """With the key and the cure."""
    task, message = WRONG[name]
    with pytest.raises(ValidationError, match=message):
        TaskSpec.model_validate(task)


def test_a_schema_beside_a_task_is_refused(make_pipeline: MakePipeline) -> None:
    """A ready task has a schema of its own; with none, there is nothing to repair."""
    task = {"classify": {"text": "{text}", "labels": ["a", "b"]}}
    frame = pl.DataFrame({"text": ["x"]})
    with pytest.raises(ValidationError, match="has its own schema"):
        make_pipeline(frame, task=task, schema={"x": "string"})
    assert make_pipeline(frame, task=task, repair=1).schema
    with pytest.raises(ValidationError, match="there is none"):
        make_pipeline(frame, repair=1)


def test_prompts_of_the_library_are_filled(make_pipeline: MakePipeline, store: Store) -> None:
    """A shipped prompt takes any column, by `fill`; what it has no place for is refused."""
    task = {"text": {"prompt_id": "translate", "fill": {"text": "{title}: {body}"}}}
    frame = pl.DataFrame({"title": ["News"], "body": ["{none}"]})
    source = {"path": make_pipeline(frame, prompt="-").spec.source.path}
    source |= {"expand": {"column": "language", "values": ["German", "French"]}}
    stages = Stages.of(make_pipeline(frame, task=task, source=source), store)
    assert [("into German" in p, "\nNews: {none}\n" in p) for p in prompts(stages)] == [(True, True), (False, True)]
    with pytest.raises(PromptError, match=r"has no placeholder \{txt\} to fill; it has: language, text"):
        make_pipeline(frame, task={"text": {"prompt_id": "translate", "fill": {"txt": "{title}"}}})


def test_a_prompt_of_ones_own(make_pipeline: MakePipeline, tmp_path: Path, store: Store) -> None:
    """A file of the shipped prompt's name beside the YAML takes its place."""
    (tmp_path / "classify.txt").write_text("One of {labels} for {text}, {how_many}")
    task = {"classify": {"text": "{text}", "labels": ["a", "b"]}}
    stages = Stages.of(make_pipeline(pl.DataFrame({"text": ["x"]}), task=task), store)
    assert prompts(stages)[0].startswith("One of - a\n- b for x,")


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.txt")), ids=lambda path: path.stem)
def test_every_shipped_prompt_parses(path: Path, tmp_path: Path) -> None:
    """And names columns, without which it would ask the same of every row."""
    assert load_template(path.stem, tmp_path).columns
