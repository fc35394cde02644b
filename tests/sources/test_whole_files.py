"""Whole files as rows: texts and documents, from a pattern or a folder."""

import os
from pathlib import Path

import polars as pl
import pytest

from bedrock_assets.config.source import SourceSpec
from bedrock_assets.errors import ConfigError
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.sources import open_source, whole_files
from tests.labs.dispatch import open_lab


def read(files: str, folder: Path, limit: int | None = None) -> pl.DataFrame:
    """All rows."""
    return pl.concat(open_source(SourceSpec(files=files, limit=limit), None, folder).batches())


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """Texts in two folders, some with a byte order mark, line breaks of Windows, or nothing in them."""
    (tmp_path / "calls" / "may").mkdir(parents=True)
    (tmp_path / "calls" / ".cache").mkdir()
    for name, text in {
        "b": "Second.\r\nLine.",
        "a": "\ufeffFirst, für ö.",
        "may/c": "",
        ".cache/x": "not this",
    }.items():
        (tmp_path / "calls" / f"{name}.txt").write_bytes(text.encode())
    return tmp_path


def test_texts(calls: Path) -> None:
    """Names are below the folder, in order; texts are as they are, without a byte order mark."""
    expected = [("a.txt", "First, für ö."), ("b.txt", "Second.\r\nLine."), ("may/c.txt", "")]
    for files in ("calls", "calls/**/[!.]*.txt"):
        assert read(files, calls).rows() == expected
    assert read("calls/*.txt", calls).rows() == expected[:2]
    assert read("calls/b.txt", calls).rows() == expected[1:2]
    source = open_source(SourceSpec(files="calls/*.txt"), None, calls)
    assert (source.n_rows(), source.columns()) == (2, ["name", "text"])


def test_what_is_known_before_reading(tmp_path: Path) -> None:
    """The columns, only where the pattern tells them; a folder's own name may look like a pattern, or like a suffix."""
    for files, columns in {
        "scans/*.pdf": ["name", "content"],
        "calls/**/*.txt": ["name", "text"],
        "scans/*.[pP][dD][fF]": None,
        "scans/*.*": None,
        "scans.2026": None,
    }.items():
        assert open_source(SourceSpec(files=files), None, tmp_path).columns() == columns, files
    home = tmp_path / "new [2026]"
    (home / "calls [1]").mkdir(parents=True)
    (home / "calls [1]" / "a.txt").write_text("A")
    for files in ("calls [1]/a.txt", "calls [1]/*.txt", "calls [1]"):
        assert read(files, home).rows() == [("a.txt", "A")], files
    assert read("*/*.txt", home).rows() == [("calls [1]/a.txt", "A")]
    pl.DataFrame({"x": [1]}).write_parquet(home / "calls [1]" / "a.parquet")
    assert len(pl.concat(open_source(SourceSpec(path="*/*.parquet"), None, home).batches())) == 1


def test_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PDF files are rows of bytes; batches are cut by their size."""
    for i in range(5):
        (tmp_path / f"{i}.pdf").write_bytes(b"%PDF-1.7 " + bytes([i]) * 100)
    monkeypatch.setattr(whole_files, "BYTES_AT_ONCE", 200)
    batches = list(open_source(SourceSpec(files="*.pdf"), None, tmp_path).batches())
    assert [len(batch) for batch in batches] == [2, 2, 1]
    rows = pl.concat(batches)
    assert rows.schema == {"name": pl.String, "content": pl.Binary}
    assert rows["content"][4] == b"%PDF-1.7 " + b"\x04" * 100


def test_what_cannot_be_read(calls: Path) -> None:
    """Errors name the file and the cure."""
    (calls / "latin").mkdir()
    (calls / "latin" / "x.txt").write_bytes("für".encode("latin1"))
    (calls / "mixed").mkdir()
    for name in ("a.txt", "b.pdf"):
        (calls / "mixed" / name).write_text("x")
    Path(os.fsdecode(os.fsencode(calls / "latin") + b"/caf\xe9.md")).write_text("x")
    for files, told in {
        "latin/*.md": r"the name b'caf\\xe9.md' is not UTF-8; rename the file",
        "latin/*.txt": "x.txt: byte 0xfc is not UTF-8; save the file as UTF-8",
        "mixed": "texts and documents or images",
        "none/*.txt": "source.files '.*none/\\*.txt' matches no file",
        "gs://bucket/calls/*.txt": "is neither local nor s3://; copy the files first",
    }.items():
        with pytest.raises(ConfigError, match=told):
            read(files, calls)
    for source in ({"path": "calls/*.txt"}, {"huggingface": {"id": str(calls / "calls")}}):
        with pytest.raises(ConfigError, match="files"):
            list(open_source(SourceSpec.model_validate(source), None, calls).batches())


def test_from_texts_to_a_table(calls: Path) -> None:
    """Each file is a row of the table, the empty one as well; with a limit only the first are read."""
    (calls / "lab").mkdir()
    source = {"files": str(calls / "calls"), "id_column": "name", "limit": 3}
    task = {"text": {"prompt": "Summarise: {text}", "max_tokens": 64}}
    with open_lab(calls / "lab", source=source, task=task) as lab:
        lab.ask_in_runs()
        assert set(lab.finish().values()) == {RequestState.ANSWERED}
        assert lab.materialize("joined_table")
        table = pl.read_parquet(lab.store.path("calls/table/part-00000.parquet"))
    assert table["name"].to_list() == ["a.txt", "b.txt", "may/c.txt"]
    assert table["status"].null_count() == 0
