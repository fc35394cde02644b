"""What a job writes: complete, shuffled, repeatable, readable line by line."""

from pathlib import Path

from tests.emulator.lab import BUCKET, TITAN_EMBED, Lab, StartLab, record, records


def test_output_is_complete_and_shuffled(lab: Lab) -> None:
    """Every record has one line that echoes its input, and the order is another than the input's."""
    rows = records(5000)
    arn = lab.create("a-job", lab.put("in/x.jsonl", rows))
    lab.wait(arn)
    lines = lab.lines(arn, "x.jsonl.out")
    ids = [line["recordId"] for line in lines]
    assert ids != sorted(ids)
    assert sorted(ids) == [row["recordId"] for row in rows]
    inputs = {row["recordId"]: row["modelInput"] for row in rows}
    assert all(line["modelInput"] == inputs[line["recordId"]] for line in lines)
    assert all(line["modelOutput"]["content"][0]["text"] for line in lines)


def test_manifest_adds_up(lab: Lab) -> None:
    """The manifest's counts are those of the lines, its tokens the sums of their usage."""
    rows = [*records(30), {"recordId": "bad", "modelInput": {"max_tokens": 5}}]
    arn = lab.create("a-job", lab.put("in/x.jsonl", rows))
    job = lab.wait(arn)
    usage = [line["modelOutput"]["usage"] for line in lab.lines(arn, "x.jsonl.out") if "modelOutput" in line]
    assert lab.manifest(arn) == {
        "totalRecordCount": 31,
        "processedRecordCount": 31,
        "successRecordCount": 30,
        "errorRecordCount": 1,
        "inputTokenCount": sum(one["input_tokens"] for one in usage),
        "outputTokenCount": sum(one["output_tokens"] for one in usage),
    }
    assert (job["successRecordCount"], job["errorRecordCount"]) == (30, 1)


def test_a_bad_record_is_an_error_line(lab: Lab) -> None:
    """A modelInput that the model refuses becomes an error line; a job of nothing else still completes."""
    uri = lab.put("in/x.jsonl", [{"recordId": f"r{i}", "modelInput": {"inputText": ""}} for i in range(3)])
    arn = lab.create("a-job", uri, model=TITAN_EMBED)
    assert lab.wait(arn)["status"] == "Completed"
    for line in lab.lines(arn, "x.jsonl.out"):
        assert set(line) == {"recordId", "modelInput", "error"}
        assert line["error"]["errorCode"] == 400
        assert "minLength" in line["error"]["errorMessage"]


def test_two_files_of_one_name_keep_both_outputs(lab: Lab) -> None:
    """Files of one name in two folders get an output each, and the manifest counts what is there."""
    for folder, n in (("a", 3), ("b", 2)):
        lab.put(f"twins/{folder}/x.jsonl", records(n))
    lab.put("twins/b/y.jsonl", records(4))
    arn = lab.create("a-job", f"s3://{BUCKET}/twins/")
    assert lab.wait(arn)["status"] == "Completed"
    assert len(lab.lines(arn, "a/x.jsonl.out")) == 3
    assert len(lab.lines(arn, "b/x.jsonl.out")) == 2
    assert len(lab.lines(arn, "y.jsonl.out")) == 4
    assert lab.manifest(arn)["totalRecordCount"] == 9


def test_prefix_runs_all_jsonl_files(lab: Lab) -> None:
    """A prefix is one job over its JSONL files, with an output file for each."""
    lab.put("in/many/a.jsonl", records(10))
    lab.put("in/many/deep/b.jsonl", records(20))
    lab.put("in/many/readme.txt", "not an input")
    for name, uri in (("job-1", f"s3://{BUCKET}/in/many"), ("job-2", f"s3://{BUCKET}/in/many/")):
        arn = lab.create(name, uri)
        assert lab.wait(arn)["totalRecordCount"] == 30
        assert (len(lab.lines(arn, "a.jsonl.out")), len(lab.lines(arn, "b.jsonl.out"))) == (10, 20)
        assert lab.manifest(arn)["processedRecordCount"] == 30


def test_only_newline_ends_a_line(lab: Lab) -> None:
    """U+0085 and U+2028 inside a text neither split the input nor get escaped in the output."""
    text = "before\u0085between\u2028after é 漢"
    arn = lab.create("a-job", lab.put("in/x.jsonl", [record("one", text), record("two", text)]))
    assert lab.wait(arn)["totalRecordCount"] == 2
    assert all(text in line for line in lab.raw_lines(arn, "x.jsonl.out"))


def test_lone_surrogates_and_huge_numbers(lab: Lab) -> None:
    """What JSON allows and UTF-8 or floats do not never fails a job."""
    odd = '{"recordId": "odd", "modelInput": {"anthropic_version": "\\ud800", "x": 1e999}}\n'
    arn = lab.create("a-job", lab.put("in/x.jsonl", odd + odd.replace("1e999", "1")))
    assert lab.wait(arn)["status"] == "Completed"
    assert [line["recordId"] for line in lab.lines(arn, "x.jsonl.out")] == ["odd", "odd"]


def test_missing_record_ids_are_made_up(lab: Lab) -> None:
    """Records without a recordId get distinct ones."""
    rows = [{"modelInput": row["modelInput"]} for row in records(10)]
    arn = lab.create("a-job", lab.put("in/x.jsonl", rows))
    lab.wait(arn)
    assert len({line["recordId"] for line in lab.lines(arn, "x.jsonl.out")}) == 10


def test_the_same_job_writes_the_same_bytes(start: StartLab, tmp_path: Path) -> None:
    """Two emulators that run the same job by name write the same output, byte for byte."""
    outputs: list[bytes] = []
    for i in range(2):
        lab = start(db=tmp_path / f"jobs-{i}.sqlite")
        lab.faults(record_error_rate=0.2, missing_record_rate=0.1, malformed_line_rate=0.1, seed=3)
        arn = lab.create("a-job", lab.put("in/default.jsonl", records(300)))
        lab.wait(arn)
        outputs.append(lab.output(arn))
    assert outputs[0] == outputs[1]
