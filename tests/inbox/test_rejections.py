"""What an inbox refuses: with a reason that is told once, the file left where it is, and nothing paid."""

import gzip
import json
import os
import zlib
from pathlib import Path

import dagster as dg
import pytest

from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.sensors.inbox import MAX_FILES, MAX_WATCHED
from tests.labs.inbox import INBOX, lines, open_lab, record

GOOD = json.dumps(record(1)).encode()
SMALL = {"max_records_per_job": 5, "min_records_per_job": 2, "max_bytes_per_record": 300, "max_bytes_per_file": 3000}
CONTENTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it has no records"),
    "blank": (b"\n \n", "it has no records"),
    "no JSON": (GOOD + b"\nnonsense\n", "line 2 is not a JSON object: 'nonsense'"),
    "cut short": (GOOD + b"\n\n" + GOOD[:40], "line 3 is not a JSON object"),
    "two in a line": (GOOD + GOOD, "line 1 is not a JSON object"),
    "a list": (b"[1, 2]\n" + GOOD, "line 1 has no modelInput"),
    "no UTF-8": (GOOD.replace(b"invoice", b"\xff\xfe"), "from line 1 on, it is not UTF-8 text"),
    "a number that is none": (GOOD.replace(b"64", b"NaN"), "line 1 is not a JSON object"),
    "compressed": (gzip.compress(lines(3)), "it is not UTF-8 text (or it is compressed: unpack it)"),
    "a compressed line": (GOOD + b"\nx\x9c" + zlib.compress(GOOD)[2:], "it is not UTF-8 text"),
    "a control character": (GOOD.replace(b"invoice", b"in\x01voice"), "line 1"),
    "an id that is a number": (b'{"recordId": 7, "modelInput": {}}', "line 1 has a recordId that is not a string"),
    "two ids": (b'{"recordId": "a", "recordId": "b", "modelInput": {}}', "line 1 has a key twice in one object"),
    "no request": (b'{"recordId": "a"}', "line 1 has no modelInput"),
    "a request that is a list": (b'{"recordId": "a", "modelInput": [1]}', "line 1 has no modelInput, or one that"),
    "for another model": (b'{"recordId": "a", "modelInput": {"inputText": "hi"}}', "takes 'messages'"),
    "too many records": (lines(6), "it has 6 records, above limits.max_records_per_job=5"),
    "too few records": (lines(1), "it has 1 records, but Bedrock fails a job with fewer than 2"),
    "too long a record": (GOOD.replace(b"invoice", b"x" * 300), "line 1 has more than the 300 bytes"),
    "too large": (GOOD.ljust(3001), "it has 3,001 bytes, above limits.max_bytes_per_file=3000"),
}
NAMES: dict[str, str] = {
    "notes.txt": "does not end in .jsonl",
    "half.jsonl.part": "does not end in .jsonl",
    "no-suffix": "does not end in .jsonl",
    "..jsonl": "rename it",
    "a..b.jsonl": "rename it",
    ".hidden.jsonl": "rename it",
    "..%2f..%2fetc.jsonl": "rename it",
    "a b.jsonl": "rename it, for example to a_b.jsonl",
    "a\\b.jsonl": "rename it",
    "new\nline.jsonl": "rename it, for example to new_line.jsonl",
    "esc\x1b[31m.jsonl": "rename it",
    "ü.jsonl": "rename it, for example to file.jsonl",
    "=1+1.jsonl": "rename it",
    "x" * 120 + ".jsonl": "rename it",
    os.fsdecode(b"no-utf8-\xff.jsonl"): "rename it",
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Why each of `CONTENTS` was refused, dropped all at once beside one file that is good."""
    with open_lab(tmp_path_factory.mktemp("contents"), on_small="error", limits={**SMALL, "max_jobs": 2}) as lab:
        for i, (content, _) in enumerate(CONTENTS.values()):
            lab.drop(f"bad-{i}.jsonl", content)
        lab.drop("good.jsonl", lines(3))
        assert lab.finish() == {"good": RequestState.ANSWERED}
        assert len(lab.jobs()) == 1
        assert lab.left == sorted(f"bad-{i}.jsonl" for i in range(len(CONTENTS)))
        for i, (content, _) in enumerate(CONTENTS.values()):
            assert (lab.folder / f"bad-{i}.jsonl").read_bytes() == content
        lab.tick()
        assert f"{len(CONTENTS)} refused: bad-0.jsonl (it has no records); " in lab.skipped["mail_files_sensor"]
        assert lab.n_refusals == len(CONTENTS)
        incoming = [path.name for path in Path(lab.store.root).rglob("*") if "incoming" in path.name]
        assert incoming == []
        refused = lab.rejections
    return {name: refused[f"bad-{i}.jsonl"] for i, name in enumerate(CONTENTS)}


@pytest.mark.parametrize("name", CONTENTS)
def test_contents_that_are_refused(told: dict[str, str], name: str) -> None:
    """The reason names the line and what is wrong with it; the file stays as it is, and nothing was paid for it."""
    assert CONTENTS[name][1] in told[name]


def test_names_that_are_refused(tmp_path: Path) -> None:
    """Names with a path trick or anything odd, folders, links and pipes are never opened, and are told in ASCII."""
    outside = tmp_path / "secret.jsonl"
    outside.write_bytes(lines(5))
    with open_lab(tmp_path) as lab:
        for name in NAMES:
            lab.drop(name, lines(5))
        lab.drop("sub/inside.jsonl", lines(5))
        (lab.folder / "link.jsonl").symlink_to(outside)
        (lab.folder / "folder.jsonl").symlink_to(tmp_path, target_is_directory=True)
        os.mkfifo(lab.folder / "pipe.jsonl")
        lab.finish()
        refused = lab.rejections
        assert {ascii(name)[1:-1] for name in NAMES} < set(refused)
        for name, reason in NAMES.items():
            assert reason in refused[ascii(name)[1:-1]]
        for name in ("sub", "link.jsonl", "folder.jsonl", "pipe.jsonl"):
            assert "it is not a file" in refused[name]
        assert (lab.states, lab.jobs()) == ({}, [])
        assert {path.name for path in Path(lab.store.root).iterdir()} == {"to-process"}
        assert len(lab.left) == len(NAMES) + 4
        assert all(line.isprintable() for line in lab.skipped.values())


def test_a_refused_file_that_is_corrected_is_taken(tmp_path: Path) -> None:
    """A file with other content under the same name is looked at anew, and so is one whose permissions change."""
    with open_lab(tmp_path) as lab:
        lab.drop("first.jsonl", b"nonsense")
        lab.finish()
        assert (lab.left, lab.n_refusals) == (["first.jsonl"], 1)
        lab.drop("first.jsonl", lines(3))
        assert lab.finish() == {"first": RequestState.ANSWERED}
        assert (lab.left, lab.n_refusals) == ([], 1)


def test_duplicates(tmp_path: Path) -> None:
    """The same records, in flight or answered, are refused under any name; dropped at once, one of them is taken."""
    with open_lab(tmp_path, speed=None) as lab:
        for name in ("a", "b"):
            lab.drop(f"{name}.jsonl", lines(5))
        for _ in range(3):
            lab.tick()
        assert (lab.states, lab.left) == ({"a": RequestState.SUBMITTED}, ["b.jsonl"])
        assert "the same records are in progress as partition a" in lab.rejections["b.jsonl"]
        lab.drop("a.jsonl", lines(6))
        lab.drop("c.jsonl", lines(5) + b"\n")  # no other records
        lab.finish()
        assert "a file of that name is in progress" in lab.rejections["a.jsonl"]
        assert "the same records are in progress" in lab.rejections["c.jsonl"]
        lab.drop("d.jsonl", lines(5))
        lab.drop("a.jsonl", lines(7))
        lab.finish()
        assert "have answers in" in lab.rejections["d.jsonl"]
        assert "a file of that name is processed already" in lab.rejections["a.jsonl"]
        assert (len(lab.jobs()), lab.left) == (1, ["a.jsonl", "b.jsonl", "c.jsonl", "d.jsonl"])
        assert len(lab.answers("a")) == 5


def test_answers_that_were_taken_away_leave_the_name_free(tmp_path: Path) -> None:
    """Once the folder of a processed file is moved away, another file may have its name."""
    with open_lab(tmp_path) as lab:
        lab.drop("daily.jsonl", lines(5, "Monday"))
        lab.finish()
        (Path(lab.store.root) / "processed" / "daily").rename(tmp_path / "archive")
        lab.drop("daily.jsonl", lines(6, "Tuesday"))
        lab.finish()
        assert (len(lab.answers("daily")), lab.left, len(lab.jobs())) == (6, [], 2)


def test_a_file_that_crashes_its_runs_is_given_up(tmp_path: Path) -> None:
    """A file whose runs crash holds up no other, is tried again after growing pauses, and is refused in the end."""
    with open_lab(tmp_path) as lab:
        lab.drop("a-poison.jsonl", lines(3, "poison"))
        lab.look()
        for number in range(9):
            (asked,) = lab.look()
            config = asked.run_config["ops"][f"{INBOX}__dropped_files"]["config"]
            assert (list(config["files"]), config["given_up"]) == (["a-poison.jsonl"], {})
            run = lab.instance.create_run_for_job(_noop, tags=dict(asked.tags), status=dg.DagsterRunStatus.STARTED)
            lab.instance.report_run_failed(run)
            assert lab.look() == []
            if number == 0:
                lab.drop("b-good.jsonl", lines(3))
                lab.look()
                (other,) = lab.look()
                assert list(other.run_config["ops"][f"{INBOX}__dropped_files"]["config"]["files"]) == ["b-good.jsonl"]
                lab.launch([other])
            lab.pass_time(30 * 2**number + 1)
        assert lab.finish() == {"b-good": RequestState.ANSWERED}
        assert "failed again and again" in lab.rejections["a-poison.jsonl"]
        assert (lab.left, len(lab.jobs())) == (["a-poison.jsonl"], 1)


def test_refused_files_do_not_fill_the_cursor(tmp_path: Path) -> None:
    """The cursor has what is still to be judged, and no more of it than a few thousand files."""
    with open_lab(tmp_path) as lab:
        for i in range(MAX_WATCHED + 10):
            lab.drop(f"{i}.txt", b"")
        lab.look()
        assert len(json.loads(lab.cursors["mail_files_sensor"] or "")["seen"]) == MAX_WATCHED
        (asked,) = lab.look()
        config = asked.run_config["ops"]["mail__dropped_files"]["config"]
        assert len(config["files"]) == MAX_FILES
        config["files"] = dict(list(config["files"].items())[:5])
        lab.launch([asked])
        lab.look()
        seen = json.loads(lab.cursors["mail_files_sensor"] or "")["seen"]
        assert (len(lab.rejections), len(seen), set(seen) & set(lab.rejections)) == (5, MAX_WATCHED, set())


@dg.job
def _noop() -> None:
    pass
