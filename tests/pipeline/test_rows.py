"""One row becomes several prompts, several rows one, and a table the source of the next pipeline."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bedrock_assets.audit import Effect
from bedrock_assets.config.source import GroupSpec, SourceSpec
from bedrock_assets.dataset.ingest import ingest, read_rows
from bedrock_assets.errors import ConfigError, InvalidRecordIds, PromptError
from bedrock_assets.outputs.collect import Collector
from bedrock_assets.pipeline import rows
from bedrock_assets.pipeline.rows import Grouped, open_rows
from bedrock_assets.pipeline.templates import parse_template
from bedrock_assets.sources import Source, open_source
from bedrock_assets.storage.keys import table_part_key
from bedrock_assets.storage.store import Store
from bedrock_assets.table.join import join_table
from tests.labs.interleaving import meanwhile
from tests.labs.stages import MakePipeline, Stages, jsonl, ok, texts

TURNS = pl.DataFrame(
    {
        "call": ["a", "b", "a", "c", "b", "a"],
        "turn": [2, 1, 1, 1, 2, 3],
        "who": ["agent", "caller", "caller", None, "agent", "caller"],
        "text": ["Hello.", "Hi.", "Good day.", "?", "Yes?", "Bye."],
    }
)


def opened(tmp_path: Path, frame: pl.DataFrame, **source: object) -> Source:
    """What a source over a file gives."""
    path = tmp_path / "rows.parquet"
    frame.write_parquet(path)
    spec = SourceSpec.model_validate({"path": str(path), **source})
    return open_rows(spec, [spec.expand] if spec.expand else [], open_source(spec))


def read(source: Source) -> pl.DataFrame:
    """All of it, whose number is as it was foretold."""
    frame = pl.concat(source.batches())
    assert source.n_rows() == len(frame)
    assert pl.concat(source.column(frame.columns[0])).equals(frame[frame.columns[0]])
    return frame


def test_a_row_for_each_value(tmp_path: Path) -> None:
    """With `values` every row stands once for each, one after the other, in a new last column."""
    found = read(opened(tmp_path, texts(2), expand={"column": "language", "values": ["de", "fr"]}))
    assert found.rows() == [
        *(("c0", "call 0", "de"), ("c0", "call 0", "fr")),
        *(("c1", "call 1", "de"), ("c1", "call 1", "fr")),
    ]


def test_a_row_for_each_of_its_own_values(tmp_path: Path) -> None:
    """Without `values` a list column gives each row's own; a row whose list is empty or null stays, with a null."""
    frame = texts(4).with_columns(to=pl.Series([["de"], [], None, ["fr", "it"]], dtype=pl.List(pl.String)))
    found = read(opened(tmp_path, frame, expand={"column": "to"}))
    assert found.select("id", "to").rows() == [("c0", "de"), ("c1", None), ("c2", None), ("c3", "fr"), ("c3", "it")]


def test_no_row_is_lost_when_expanded(make_pipeline: MakePipeline, store: Store) -> None:
    """Each prompt is a row of the table under an id of its own; a row without a value is an error row."""
    frame = texts(3).with_columns(to=pl.Series([["de", "fr"], [], ["de"]], dtype=pl.List(pl.String)))
    pipeline = make_pipeline(frame, prompt="Translate into {to}: {text}")
    source = pipeline.spec.source.model_dump() | {"id_column": "id", "expand": {"column": "to"}}
    pipeline = make_pipeline(frame, source=source, prompt="Translate into {to}: {text}")
    stages = Stages.of(pipeline, store)
    stages.answer_all()
    table = stages.parts([part.key for part in join_table(store, pipeline, stages.raw).parts])
    assert table.select("record_id", "to", "status", "error_code").rows() == [
        ("c0:de", "de", "ok", None),
        ("c0:fr", "fr", "ok", None),
        ("c1", None, "error", "null_value"),
        ("c2:de", "de", "ok", None),
    ]


def test_a_value_that_repeats_is_refused(make_pipeline: MakePipeline, store: Store) -> None:
    """The same value twice in a row's list would be the same id twice."""
    frame = texts(1).with_columns(to=pl.Series([["de", "de"]]))
    source = {"path": make_pipeline(frame).spec.source.path, "id_column": "id", "expand": {"column": "to"}}
    with pytest.raises(InvalidRecordIds, match="'c0:de' \\(2 times\\)"):
        ingest(make_pipeline(frame, source=source), store)


def test_rows_of_a_group_are_one_prompt(tmp_path: Path) -> None:
    """What the template says of each row, in the order asked for; other columns are lists in the same order."""
    group = {"columns": "call", "each": "{who}: {text}", "order_by": "turn", "into": "talk"}
    found = read(opened(tmp_path, TURNS, group_by=group))
    assert found.rows() == [
        (
            *("a", "caller: Good day.\nagent: Hello.\ncaller: Bye."),
            *([1, 2, 3], ["caller", "agent", "caller"], ["Good day.", "Hello.", "Bye."]),
        ),
        ("b", "caller: Hi.\nagent: Yes?", [1, 2], ["caller", "agent"], ["Hi.", "Yes?"]),
        # A null is no text: the group has no prompt, and its row says so.
        ("c", None, [1], [None], ["?"]),
    ]


def test_a_default_stands_for_nulls_in_groups(make_pipeline: MakePipeline) -> None:
    """`null_default` holds for the rows of a group as for any prompt."""
    group = {"columns": ["call"], "each": "{who}: {text}", "separator": " / "}
    source = {"path": make_pipeline(TURNS).spec.source.path, "group_by": group}
    task = {"text": {"prompt": "{rows}", "null_default": "someone"}}
    found = pl.concat(read_rows(make_pipeline(TURNS, source=source, task=task)))
    assert found["rows"].to_list() == [
        "agent: Hello. / caller: Good day. / caller: Bye.",
        "caller: Hi. / agent: Yes?",
        "someone: ?",
    ]


@given(st.lists(st.tuples(st.integers(0, 9) | st.none(), st.text(max_size=5)), max_size=60), st.integers(1, 7))
def test_groups_that_do_not_fit_into_memory(
    pytestconfig: pytest.Config, made: list[tuple[int | None, str]], size: int
) -> None:
    """Sorted into files, groups hold the same rows in the same order; the groups themselves come in another order."""
    frame = pl.DataFrame(made, schema={"key": pl.Int64, "text": pl.String}, orient="row").with_row_index("n")

    class Frames(Source):
        def describe(self) -> str:
            return "frames"

        def columns(self) -> list[str]:
            return frame.columns

        def batches(self) -> Iterator[pl.DataFrame]:
            return frame.iter_slices(size)

    spec = GroupSpec(columns=("key",), each="{n}: {text}")
    grouped = Grouped(Frames(), spec, parse_template(spec.each, "each"), None)
    whole = [batch for batch in grouped.batches() if len(batch)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "HELD_BYTES", 50)
        spilled = [batch for batch in grouped.batches() if len(batch)]
    assert len(whole) == bool(made)
    if made:
        assert_frame_equal(pl.concat(whole), pl.concat(spilled), check_row_order=False)
        assert pl.concat(spilled)["n"].explode().sort().to_list() == list(range(len(made)))


WRONG = {
    "no such column": ({"group_by": {"columns": "caal", "each": "{text}"}}, ConfigError, "column 'caal'"),
    "no such order": ({"group_by": {"columns": "id", "each": "{text}", "order_by": "x"}}, ConfigError, "column 'x'"),
    "no such part": ({"group_by": {"columns": "id", "each": "{txt}"}}, PromptError, "group_by.each"),
    "name is taken": ({"group_by": {"columns": "id", "each": "{text}", "into": "text"}}, ConfigError, "set `into`"),
    "no such list": ({"expand": {"column": "languages"}}, ConfigError, "'languages' is not in the dataset"),
    "no list": ({"expand": {"column": "text"}}, ConfigError, "is not a list but String"),
    "value is taken": ({"expand": {"column": "text", "values": ["a"]}}, ConfigError, "already has a column 'text'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_refused(tmp_path: Path, name: str) -> None:
    """Wrong columns are told with what there is, before anything is written."""
    source, kind, message = WRONG[name]
    with pytest.raises(kind, match=message):
        read(opened(tmp_path, texts(2), **source))


def summarised(make_pipeline: MakePipeline, store: Store) -> Stages:
    """A pipeline `calls` whose table is there."""
    limits = {"min_records_per_job": 1, "max_records_per_job": 4, "max_jobs": 1}
    stages = Stages.of(make_pipeline(texts(10), id_column="id", limits=limits), store)
    stages.answer_all()
    join_table(store, stages.pipeline, stages.raw)
    return stages


def chained(make_pipeline: MakePipeline) -> dict[str, object]:
    """What makes a pipeline the next one."""
    return {
        "name": "next",
        "source": {"pipeline": "calls", "id_column": "record_id"},
        "output_prefix": "next_",
        "prompt": "Again: {response}",
    }


def test_a_table_is_the_source_of_the_next(make_pipeline: MakePipeline, store: Store) -> None:
    """Each row of the table is a row of the next pipeline, which asks about the answer, in the table's order."""
    former = summarised(make_pipeline, store)
    settings = chained(make_pipeline)
    del settings["prompt"]
    pipeline = make_pipeline(texts(1), **settings, task={"text": {"prompt": "Again: {response}"}})
    raw = ingest(pipeline, store)
    table = pl.concat(pipeline.rows(store).batches())
    assert table.equals(former.parts([f"calls/table/part-{i:05d}.parquet" for i in range(3)]))
    assert (raw.n_rows, raw.source) == (10, "calls/joined_table")
    made = pipeline.records.make(next(read_rows(pipeline, store)))
    assert "Again: to c0" in made["__line"][0]


def test_a_table_that_is_not_there_is_told(make_pipeline: MakePipeline, store: Store) -> None:
    """Without the table, or the store, the next pipeline says what to do."""
    pipeline = make_pipeline(texts(1), source={"pipeline": "calls"}, prompt="{text}")
    with pytest.raises(ConfigError, match=r"there is no calls/joined_table in .* or materialize calls/joined_table"):
        ingest(pipeline, store)
    with pytest.raises(ConfigError, match="no store was given"):
        list(read_rows(pipeline))


def test_a_table_replaced_while_it_is_read(make_pipeline: MakePipeline, store: Store) -> None:
    """The rows are those of the former table to their end, also when the second one is not published yet."""
    former = summarised(make_pipeline, store)
    expected = former.parts([f"calls/table/part-{i:05d}.parquet" for i in range(3)])
    batches = make_pipeline(texts(1), source={"pipeline": "calls"}, prompt="{text}").rows(store).batches()
    read = [next(batches)]
    former.write(jsonl([ok(record_id, "anew") for record_id in former.ids(2)]), 2, attempt=2)
    Collector(former.pipeline.workload, store, former.shards[2]).publish(former.collect(attempt=2, shard=2))
    with meanwhile("after", Effect.MOVE, table_part_key("calls", 2), lambda: read.extend(batches)):
        join_table(store, former.pipeline, former.raw)
    assert pl.concat(read).equals(expected)
