"""Reading what Bedrock wrote: any order, any damage, one fate for each row."""

import json
from typing import Any

import polars as pl
import pytest

from bedrock_assets.families import FAMILIES
from bedrock_assets.outputs.job_manifest import JobManifest
from bedrock_assets.outputs.parse import Answers, one_outcome_per_row
from bedrock_assets.outputs.unexplained import RAW_CHARS
from tests.labs.stages import failed, jsonl, ok

ANTHROPIC = FAMILIES["anthropic"]


def read(*chunks: bytes) -> Answers:
    """Answers of a job's output, in pieces."""
    answers = Answers(ANTHROPIC)
    for chunk in chunks:
        answers.add(chunk)
    return answers


def row(answers: Answers, wire_id: str) -> dict[str, Any]:
    """The outcome of one id."""
    return answers.outcomes().row(by_predicate=pl.col("wire_id") == wire_id, named=True)


def fates(*ids: str) -> pl.DataFrame:
    """Rows of a shard, all of them sent."""
    none = pl.lit(None, pl.String)
    return pl.DataFrame({"record_id": ids}).with_columns(code=none, message=none, copy_of=none)


def test_an_answer() -> None:
    """A line with an answer gives its text, stop reason and tokens."""
    assert row(read(jsonl([ok("a", "Hello")])), "a") == {
        "wire_id": "a",
        "response": "Hello",
        "status": "ok",
        "stop_reason": "end_turn",
        "input_tokens": 10,
        "output_tokens": 3,
        "error_code": None,
        "error_message": None,
        "retryable": False,
    }


@pytest.mark.parametrize("code", [400, "400"])
def test_an_error(code: int | str) -> None:
    """An error line gives code and message as text, whether the code is a number or a string."""
    found = row(read(jsonl([failed("a", code, "Bad input", retryable=False)])), "a")
    assert (found["status"], found["error_code"], found["error_message"]) == ("error", "400", "Bad input")
    assert found["response"] is None


def test_order_is_free() -> None:
    """Rows come out in the order of the input, whatever the order of the output."""
    ids = [f"r{i}" for i in range(100)]
    shuffled = sorted(ids, key=lambda record_id: record_id[::-1])
    settled, n_unknown = one_outcome_per_row(
        fates(*ids), read(jsonl(ok(i, f"to {i}") for i in shuffled)).outcomes(), ""
    )
    assert settled["record_id"].to_list() == ids
    assert settled["response"].to_list() == [f"to {i}" for i in ids]
    assert n_unknown == 0


def test_only_newlines_end_a_line() -> None:
    """U+0085, U+2028, form feeds and escaped line breaks are part of the text, not ends of lines."""
    text = "a\u0085b\u2028c\u2029d\x0ce\nf\rg\x1ch"
    answers = read(jsonl([ok("a", text), ok("b")]))
    assert (answers.n_lines, answers.n_unreadable) == (2, 0)
    assert row(answers, "a")["response"] == text


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n\n\n"])
def test_the_end_of_the_file_is_free(end: bytes) -> None:
    """The last line counts with and without a newline; blank lines count nothing."""
    answers = read(b"\n" + jsonl([ok("a")]) + jsonl([ok("b")]).rstrip() + end)
    assert (len(answers.outcomes()), answers.n_lines, answers.n_unreadable) == (2, 2, 0)


def test_broken_lines_take_nothing_with_them() -> None:
    """A line cut in the middle of the file and one at its end are counted; all others are read."""
    whole = [ok(f"r{i}") for i in range(50)]
    lines = [json.dumps(line) for line in whole]
    lines[20] = lines[20][:40]
    answers = read(jsonl(lines) + jsonl([ok("last")])[:25])
    assert answers.n_unreadable == 2
    assert answers.outcomes()["wire_id"].sort().to_list() == sorted(f"r{i}" for i in range(50) if i != 20)


@pytest.mark.parametrize(
    "line",
    [
        *(
            "[1]",
            "5",
            '"text"',
            "null",
            "true",
            "{}",
            '{"recordId": null}',
            '{"a": 1}',
            "{'recordId': 'b'}",
            "\ufeff",
            "{",
        ),
        '{"totalRecordCount":2,"processedRecordCount":2,"successRecordCount":2,"errorRecordCount":0}',
        json.dumps(ok("b")) + json.dumps(ok("c")),
    ],
)
def test_lines_that_are_no_record(line: str) -> None:
    """A line that is no object or has no record id, the manifest's among them, is counted and gives no row."""
    answers = read(jsonl([ok("a"), line, ok("z")]))
    assert answers.n_unreadable == 1
    assert answers.outcomes()["wire_id"].sort().to_list() == ["a", "z"]


def test_bytes_that_are_no_utf8() -> None:
    """A line in another encoding is counted, the lines around it are read."""
    answers = read(
        jsonl([ok("a")]) + json.dumps(ok("b", "é"), ensure_ascii=False).encode("latin-1") + b"\n" + jsonl([ok("c")])
    )
    assert answers.n_unreadable == 1
    assert answers.outcomes()["wire_id"].sort().to_list() == ["a", "c"]


def test_an_answer_in_an_odd_shape() -> None:
    """An answer without text is an error row that keeps the head of the line."""
    line = {"recordId": "a", "modelOutput": {"content": [{"type": "image"}], "note": "x" * 1_000}}
    found = row(read(jsonl([ok("b"), line])), "a")
    assert (found["status"], found["error_code"]) == ("error", "unrecognised_output")
    assert found["error_message"] == json.dumps(line["modelOutput"])[:RAW_CHARS]


def test_the_head_of_the_right_line_is_kept() -> None:
    """Each line is looked at itself, also where broken and blank lines stand before it."""
    odd = [{"recordId": f"odd{i}", "modelOutput": None} for i in range(3)]
    answers = read(
        jsonl(["{", "", json.dumps(odd[0]), json.dumps(ok("a")), "", json.dumps(odd[1]), "[", json.dumps(odd[2])])
    )
    for line in odd:
        assert row(answers, line["recordId"])["error_message"] == '{"modelOutput": null}'


def test_null_union_members() -> None:
    """Converse writes every member of a union, the unset ones as null: only the text is taken."""
    block = {"text": "Hi", "image": None, "toolUse": None, "reasoningContent": None}
    silent = {"text": None, "image": None, "toolUse": None, "reasoningContent": {"reasoningText": {"text": "hm"}}}
    output = {
        "output": {"message": {"content": [silent, block]}},
        "stopReason": "end_turn",
        "usage": None,
        "trace": None,
    }
    answers = Answers(FAMILIES["converse"])
    answers.add(jsonl([{"recordId": "a", "modelOutput": output, "error": None}]))
    found = row(answers, "a")
    assert (found["status"], found["response"], found["input_tokens"]) == ("ok", "Hi", None)


@pytest.mark.parametrize("lines", [[ok("a"), failed("a")], [failed("a"), ok("a")]])
def test_of_repeated_ids_the_success_wins(lines: list[dict[str, Any]]) -> None:
    """An id that is answered twice is one row, the success if there is one, whichever came first."""
    for answers in (read(jsonl(lines)), read(*(jsonl([line]) for line in lines))):
        assert len(answers.outcomes()) == 1
        assert row(answers, "a")["status"] == "ok"


def test_unknown_ids_are_counted() -> None:
    """Answers with an id that is not the shard's are counted and change nothing; copies of padding are not counted."""
    outcomes = read(jsonl([ok("a"), ok("stranger"), ok("padding" + "0" * 26)])).outcomes()
    settled, n_unknown = one_outcome_per_row(fates("a"), outcomes, "")
    assert (settled["record_id"].to_list(), n_unknown) == (["a"], 1)


def test_missing_rows_say_how_the_job_ended() -> None:
    """A row without an answer is missing, with the job's end as its message."""
    settled, _ = one_outcome_per_row(fates("a", "b"), read(jsonl([ok("a")])).outcomes(), "job x ended as Expired")
    found = settled.row(1, named=True)
    assert (found["status"], found["error_code"]) == ("missing", "missing")
    assert found["error_message"].endswith("job x ended as Expired")


def test_expired_rows_are_missing() -> None:
    """An error line with `expired: true` marks a record that was not processed: missing, and not failed."""
    outcomes = read(jsonl([failed("a", expired=True), failed("b", expired=False)])).outcomes()
    settled, _ = one_outcome_per_row(fates("a", "b"), outcomes, "")
    assert settled["status"].to_list() == ["missing", "error"]


def test_rows_never_sent_keep_their_reason() -> None:
    """A row that had no record is an error with its own reason, whatever the output says."""
    rows = fates("a", "b").with_columns(code=pl.Series([None, "null_value"]), message=pl.Series([None, "null in x"]))
    settled, _ = one_outcome_per_row(rows, read(jsonl([ok("a"), ok("b")])).outcomes(), "")
    found = settled.row(1, named=True)
    assert (found["status"], found["error_code"], found["error_message"]) == ("error", "null_value", "null in x")
    assert settled["sent"].to_list() == [True, False]


def test_no_output_at_all() -> None:
    """A job without any output leaves every row missing."""
    for answers in (read(), read(b""), read(b"\n\n")):
        settled, n_unknown = one_outcome_per_row(fates("a", "b"), answers.outcomes(), "")
        assert (settled["status"].to_list(), n_unknown) == (["missing", "missing"], 0)


def test_a_manifest_may_grow() -> None:
    """Keys that come later do not matter, and none of the known ones has to be there."""
    assert JobManifest.model_validate_json('{"totalRecordCount": 5, "new": {}}').total_record_count == 5
    assert JobManifest.model_validate_json("{}").success_record_count is None
