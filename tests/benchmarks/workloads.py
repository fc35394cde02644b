"""
What is measured, each in a process of its own: `python -m tests.benchmarks.workloads NAME FOLDER`.

`ours` is the code that `bedrock-assets format` and `parse` run. `loop` is the plain way: one Python dict and one
`json` call a row; `pandas` is that loop over `DataFrame.iterrows`, as public samples have it. `floor` is the bare
polars expression with nothing around it: no ids, no shards, no counts, no tolerance of broken lines.
"""

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import polars as pl

from bedrock_assets.plain import format_files, plain_pipeline
from bedrock_assets.plain_parse import parse_files

MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
PROMPT = "Summarise this call in two sentences:\n\n{transcript}\n\nTopic: {topic}"
MAX_TOKENS = 256
VERSION = "bedrock-2023-05-31"


def format_ours(folder: Path) -> None:
    """Input to JSONL shards, as the command does it."""
    pipeline = plain_pipeline(_input(folder), MODEL, {"text": {"prompt": PROMPT, "max_tokens": MAX_TOKENS}}, "id")
    format_files(pipeline, folder / "shards-ours")


def format_loop(folder: Path) -> None:
    """The same records from a loop over rows."""
    _dump(pl.read_parquet(_input(folder)).iter_rows(named=True), folder / "loop.jsonl")


def format_pandas(folder: Path) -> None:
    """The same records from a loop over the rows of a pandas frame."""
    import pandas as pd

    _dump((row for _, row in pd.read_parquet(_input(folder)).iterrows()), folder / "pandas.jsonl")


def _dump(rows: Iterable[Any], path: Path) -> None:
    with path.open("w") as file:
        for row in rows:
            content = [{"type": "text", "text": PROMPT.format(**row)}]
            body = {
                "anthropic_version": VERSION,
                "max_tokens": MAX_TOKENS,
                "messages": [{"role": "user", "content": content}],
            }
            file.write(json.dumps({"recordId": row["id"], "modelInput": body}) + "\n")


def format_floor(folder: Path) -> None:
    """The same records from one expression."""
    text = pl.format(PROMPT.replace("{transcript}", "{}").replace("{topic}", "{}"), "transcript", "topic")
    content = pl.concat_list(pl.struct(pl.lit("text").alias("type"), text.alias("text"))).alias("content")
    message = pl.struct(pl.lit("user").alias("role"), content)
    body = pl.struct(
        pl.lit(VERSION).alias("anthropic_version"),
        pl.lit(MAX_TOKENS).alias("max_tokens"),
        pl.concat_list(message).alias("messages"),
    )
    pl.scan_parquet(_input(folder)).select(recordId="id", modelInput=body).sink_ndjson(folder / "floor.jsonl")


def parse_ours(folder: Path) -> None:
    """Outputs to the joined table, as the command does it."""
    pipeline = plain_pipeline(_input(folder), MODEL, {"text": {"prompt": "-"}}, "id")
    parse_files(pipeline, folder / "shards", folder / "outputs", folder / "ours.parquet")


def parse_loop(folder: Path) -> None:
    """The same table from a loop over lines and one over rows."""
    answers: dict[str, dict[str, object]] = {}
    for path in sorted((folder / "outputs").glob("*.jsonl.out")):
        with path.open() as file:
            for line in file:
                record = json.loads(line)
                output = record.get("modelOutput") or {}
                answers[record["recordId"]] = {
                    "response": "".join(block["text"] for block in output.get("content", [])),
                    "stop_reason": output.get("stop_reason"),
                    **output.get("usage", {}),
                }
    rows = [{**row, **answers.get(row["id"], {})} for row in pl.read_parquet(_input(folder)).iter_rows(named=True)]
    pl.DataFrame(rows).write_parquet(folder / "loop.parquet")


def parse_floor(folder: Path) -> None:
    """The same table from one scan and one join."""
    usage = pl.Struct({"input_tokens": pl.Int64, "output_tokens": pl.Int64})
    content = pl.List(pl.Struct({"text": pl.String}))
    output = pl.Struct({"content": content, "stop_reason": pl.String, "usage": usage})
    lines = pl.scan_ndjson(folder / "outputs" / "*.jsonl.out", schema={"recordId": pl.String, "modelOutput": output})
    field = pl.col("modelOutput").struct.field
    answers = lines.select(
        id="recordId",
        response=field("content").list.first().struct.field("text"),
        stop_reason=field("stop_reason"),
        input_tokens=field("usage").struct.field("input_tokens"),
        output_tokens=field("usage").struct.field("output_tokens"),
    )
    joined = pl.scan_parquet(_input(folder)).join(answers, on="id", how="left")
    joined.sink_parquet(folder / "floor.parquet")


def _input(folder: Path) -> str:
    return str(folder / "input.parquet")


if __name__ == "__main__":
    work: Callable[[Path], None] = globals()[sys.argv[1].replace("/", "_")]
    work(Path(sys.argv[2]))
