"""`format` on odd input: exit 2 and one line that names the file, never a traceback."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from bedrock_assets.cli.app import app
from tests.labs.stages import HAIKU


def zoned(path: Path) -> None:
    """Polars panics at this time zone."""
    pq.write_table(pa.table({"text": ["a"], "at": pa.array([1], pa.timestamp("us", "+05:30"))}), path)


CASES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a time zone": ("in.parquet", zoned, "unable to parse time zone"),
    "half a file": ("in.parquet", lambda path: path.write_bytes(b"PAR1"), "cannot be read"),
    "no rows": ("in.csv", lambda path: path.write_text("text\n"), "has no rows"),
    "latin-1": ("in.csv", lambda path: path.write_bytes(b"text\n\xe9\n"), "line 2: byte 0xe9 is not UTF-8"),
    "a broken line": ("in.jsonl", lambda path: path.write_text('{"text":1}\n{\n'), "line 2: not JSON"),
    "columns of ours": ("in.csv", lambda path: path.write_text("text,status\na,b\n"), "--output-prefix"),
    "another column": ("in.csv", lambda path: path.write_text("words\na\n"), "'text' named in prompt"),
    "bytes in the prompt": (
        "in.parquet",
        lambda path: pl.DataFrame({"text": [b"a"]}).write_parquet(path),
        "holds bytes",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line_and_exit_2(tmp_path: Path, case: str) -> None:
    """The message names what is wrong; nothing is written, and there is no traceback."""
    name, write, message = CASES[case]
    write(tmp_path / name)
    (tmp_path / "prompt.txt").write_text("Say {text}")
    options = ["--input", str(tmp_path / name), "--model", HAIKU, "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["format", *options, "--prompt-file", str(tmp_path / "prompt.txt")])
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert message in result.output
    assert result.output.count("\n") == 1
