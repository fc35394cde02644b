"""The page about a table: what it tells is what the table says, and nothing in the data is more than text on it."""

import re
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from bedrock_assets.cli.app import app
from bedrock_assets.errors import ConfigError, StoreConflict
from bedrock_assets.operations.report import report_page
from bedrock_assets.outputs.collect import Collector
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.report import Report, page_of, report_of
from bedrock_assets.storage.publication import Publication
from bedrock_assets.storage.store import Store
from bedrock_assets.table.join import join_table
from tests.labs.stages import TITAN, MakePipeline, Row, Stages, failed, jsonl, ok, texts

SCHEMA = {"label": {"enum": ["good", "bad"]}, "score": "integer"}
HOSTILE = "</dd><script>alert(1)</script>{{ 7 * 7 }}{% raw %}\"'&"
CHROMIUM = shutil.which("chromium")


def answer(i: int, record_id: str) -> Row:
    """An answer, or for two rows of ten a failure."""
    if i % 10 in {3, 4}:
        return failed(record_id, 400, f"record {i} is too long")
    return ok(record_id, f'{{"label": "{"good" if i % 2 else "bad"}", "score": {i % 5}}}')


def publish(pipeline: Pipeline, store: Store, say: Any = answer) -> Report:
    """Answer all rows, build the table and read the report."""
    stages = Stages.of(pipeline, store)
    for index, shard in enumerate(stages.shards):
        lines = [say(int(record_id.lstrip("c")), record_id) for record_id in stages.ids(index)]
        stages.write(jsonl(lines), index)
        Collector(pipeline.workload, store, shard).publish(stages.collect(shard=index))
    join_table(store, pipeline, stages.raw)
    return report_of(store, pipeline, Publication.latest(store, "calls"))


@pytest.fixture
def labelled(make_pipeline: MakePipeline) -> Pipeline:
    """Sixty rows in three shards, half of them with a known answer; one text is an attempt to break out."""
    rows = texts(60).with_columns(human=pl.Series(["good" if i < 30 else None for i in range(60)]))
    rows = rows.with_columns(text=pl.when(pl.col("id") == "c7").then(pl.lit(HOSTILE)).otherwise("text"))
    limits = {"min_records_per_job": 1, "max_jobs": 1, "max_records_per_job": 20}
    gold = {"column": "human", "answer": "label"}
    return make_pipeline(rows, id_column="id", schema=SCHEMA, limits=limits, gold=gold)


def test_what_it_tells(store: Store, labelled: Pipeline) -> None:
    """Counts, groups of errors over all shards, distributions, agreement, and what was expected and paid."""
    report = publish(labelled, store)
    assert (report.table.n_rows, report.table.n_ok, report.table.n_error) == (60, 48, 12)
    (group,) = report.errors
    assert (group.code, group.n_rows, group.message) == ("400", 12, "record 3 is too long")
    bars = {one.name: {bar.label: bar.n for bar in one.bars} for one in report.distributions}
    assert bars == {
        "label": {"bad": 24, "good": 24},
        "score": {"0": 12, "1": 12, "2": 12, "3": 6, "4": 6},
    }
    assert report.agreement
    assert (report.agreement.n, report.agreement.n_right, report.agreement.n_unanswered) == (24, 12, 6)
    assert report.cost.paid.n_input == 480
    assert report.cost.estimated.n_output == 60 * 512
    assert report.cost.paid_usd
    assert report.cost.estimated_usd
    assert report.cost.paid_usd < report.cost.estimated_usd


def test_the_rows(store: Store, labelled: Pipeline) -> None:
    """Twenty rows in the table's order, the same each time, with what the table has of them."""
    first = publish(labelled, store)
    again = report_of(store, labelled, Publication.latest(store, "calls"))
    assert first.rows == again.rows
    numbers = [int(row.record_id.lstrip("c")) for row in first.rows]
    assert len(set(numbers)) == 20
    assert numbers == sorted(numbers)
    assert {number // 20 for number in numbers} == {0, 1, 2}
    table = pl.read_parquet(store.path("calls/table/*.parquet")).rows_by_key("id", named=True, unique=True)
    for row in first.rows:
        kept = table[row.record_id]
        assert (row.status, row.input["text"]) == (kept["status"], kept["text"])
        assert row.answer.get("label") == kept["label"]
        assert row.answer.get("error_message") == kept["error_message"]


def test_data_stay_text(store: Store, labelled: Pipeline) -> None:
    """No value opens a tag, and none is a template; the page needs nothing from elsewhere."""
    described = Pipeline(labelled.spec.model_copy(update={"description": HOSTILE}), labelled.folder)
    page = page_of(publish(described, store))
    assert "<script" not in page
    assert "{{ 7 * 7 }}{% raw %}" in page
    assert not re.findall(r"\b(?:src|href|action)\s*=|url\(|@import", page)
    assert "default-src 'none'" in page


def test_a_map(store: Store, make_pipeline: MakePipeline) -> None:
    """Two kinds of rows have vectors apart; the map shows them apart, each in the color of its kind."""
    n_rows = 40
    rows = texts(n_rows).with_columns(kind=pl.Series(["left" if i % 2 else "right" for i in range(n_rows)]))
    pipeline = make_pipeline(
        rows, id_column="id", model=TITAN, task={"embedding": {"column": "text", "dimensions": 256}}
    )

    def vector(i: int, record_id: str) -> Row:
        if i == 5:
            return failed(record_id)
        side = 1.0 if i % 2 else -1.0
        values = [side, i / 1000, *[0.0] * 254]
        return {"recordId": record_id, "modelOutput": {"embedding": values, "inputTextTokenCount": 3}}

    found = publish(pipeline, store, vector).map
    assert found
    assert len(found.points) == n_rows - 1
    assert (found.colored_by, set(found.groups)) == ("kind", {"left", "right"})
    assert found.explained == pytest.approx(1)
    sides = {found.groups[point.group]: round(point.x) for point in found.points}
    assert sorted(sides.values()) == [0, 1]
    assert all(round(point.x) == sides[found.groups[point.group]] for point in found.points)
    mail = rows.with_columns(pl.col("text") + pl.format(" bob{}@example.com", "id"))
    kept = make_pipeline(
        mail, id_column="id", model=TITAN, task={"embedding": {"column": "text", "dimensions": 256}}, redact="text"
    )
    report = publish(kept, store, vector)
    assert report.map
    assert {point.text[-9:] for point in report.map.points} == {"<EMAIL_1>"}
    assert "example.com" not in page_of(report)


def test_no_answer_at_all(store: Store, labelled: Pipeline) -> None:
    """A table of errors has a page, without the parts that have nothing to show."""
    report = publish(labelled, store, lambda _, record_id: failed(record_id))
    assert (report.distributions, report.table.n_ok) == ([], 0)
    page = page_of(report)
    assert "<h2>Errors</h2>" in page
    assert "<h2>Answers</h2>" not in page
    assert "0 answers held against column <code>human</code>; 30 more rows have a known answer" in page


def test_other_settings(store: Store, labelled: Pipeline) -> None:
    """A table that is older than the YAML is told as that."""
    publish(labelled, store)
    renamed = Pipeline(labelled.spec.model_copy(update={"output_prefix": "ai_"}), labelled.folder)
    with pytest.raises(ConfigError, match="calls/joined_table has no column 'ai_record_id': it was made with other"):
        report_page(store, renamed)


def test_while_a_table_is_built(store: Store, labelled: Pipeline) -> None:
    """Without a table it says so; during a build it tells the build, and writes nothing."""
    with pytest.raises(ConfigError, match="there is no store at"):
        report_page(store, labelled)
    publish(labelled, store)
    first = store.path("calls/table/part-00000.parquet")
    shutil.copy(store.path("calls/table/part-00001.parquet"), first)
    with pytest.raises(StoreConflict, match="materialize calls/joined_table"):
        report_page(store, labelled)


def test_the_command(store: Store, labelled: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes a file that is named after the pipeline, and says where; a file it cannot write is an error."""
    monkeypatch.setenv("BEDROCK_ASSETS_STORE", store.root)
    monkeypatch.chdir(tmp_path)
    publish(labelled, store)
    attributes = labelled.spec.model_dump(mode="json", exclude_unset=True, by_alias=True)
    (tmp_path / "defs.yaml").write_text(
        yaml.safe_dump({"type": "bedrock_assets.BatchInference", "attributes": attributes})
    )
    result = CliRunner().invoke(app, ["report", "defs.yaml"])
    assert (result.exit_code, str(tmp_path / "calls-report.html") in result.output) == (0, True)
    assert (tmp_path / "calls-report.html").read_text().startswith("<!doctype html>")
    result = CliRunner().invoke(app, ["report", "defs.yaml", "-o", "absent/page.html"])
    assert result.exit_code == 2
    assert "absent/page.html cannot be written" in result.stderr


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium; apt-get install chromium")
@pytest.mark.parametrize("width", [1280, 400])
def test_in_a_browser(store: Store, labelled: Pipeline, tmp_path: Path, width: int) -> None:
    """Nothing runs, nothing is refused by the page's own policy, and no line is wider than the window."""
    from playwright.sync_api import sync_playwright

    path = tmp_path / "page.html"
    path.write_text(page_of(publish(labelled, store)), "utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900})
        told: list[str] = []
        page.on("console", lambda message: told.append(message.text))
        page.on("dialog", lambda dialog: told.append(dialog.message))
        page.goto(path.as_uri())
        assert page.locator("article.row").count() == 20
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        bar = page.locator(".bars i").first.bounding_box()
        assert bar
        assert bar["width"] > 20
        assert told == []
        browser.close()
