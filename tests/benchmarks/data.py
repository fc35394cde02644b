"""Generated tables and outputs, the same each time: `python -m tests.benchmarks.data FOLDER ROWS KIND`."""

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from bedrock_assets.dataset.ingest import ingest
from bedrock_assets.operations.format_files import format_files, plain_pipeline
from bedrock_assets.outputs.jsonlines import split_lines
from bedrock_assets.storage.keys import attempt_folder
from bedrock_assets.storage.store import Store
from tests.benchmarks import ours
from tests.benchmarks.setting import DIMENSIONS, EMBEDDING, HAIKU, TEXT, TITAN, input_of

CHUNK = 100_000
N_VECTORS = 512
"""Different vectors; a line is one of them under an id of its own."""
SPOKEN = (
    "the customer called about an invoice that arrived late and asked whether the fee could be waived "
    'because the line was down for two days "again" and the café was closed\nagent: I see, let me check'
)
WORDS = SPOKEN.split(" ")
ANSWER = "The customer wants the fee of a late invoice waived. The agent checks it and calls back. "
USAGE = '"usage":{"input_tokens":120,"output_tokens":40}'


def make(folder: Path, n_rows: int, kind: str) -> None:
    """Write what the stages of a kind read."""
    folder.mkdir(parents=True, exist_ok=True)
    if not Path(input_of(folder)).exists():
        _write_input(folder, n_rows)
    if kind in ("text", "vectors") and not (folder / "outputs").exists():
        task, model = (TEXT, HAIKU) if kind == "text" else (EMBEDDING, TITAN)
        format_files(plain_pipeline(input_of(folder), model, task, "id"), folder / "shards")
        (folder / "outputs").mkdir()
        for shard in sorted((folder / "shards").glob("*.jsonl")):
            with (folder / "outputs" / f"{shard.name}.out").open("wb") as file:
                file.writelines(answered(shard.read_bytes(), kind))
    elif kind in ("text_store", "vectors_store"):
        fill(folder, Store(str(folder / "store")), kind.removesuffix("_store"))
    elif kind == "csv":
        pl.scan_parquet(input_of(folder)).sink_csv(folder / "input.csv")
    elif kind == "dataset":
        (folder / "dataset").mkdir(exist_ok=True)
        pl.scan_parquet(input_of(folder)).sink_parquet(folder / "dataset" / "train.parquet")


def fill(folder: Path, store: Store, kind: str) -> None:
    """Run all stages before the join in a store, with made-up answers."""
    embed = kind == "vectors"
    pipeline = ours.pipeline_of(folder, embed=embed)
    ingest(pipeline, store)
    for shard in ours.format_in_store(folder, store, embed=embed):
        region = attempt_folder("calls", shard.shard.key, shard.fingerprint, 1) + "/" + ours.JOB.rpartition("/")[2]
        with store.writer(f"{region}/{shard.fingerprint}.jsonl.out") as file:
            for block in answered(store.get(shard.prompts), kind):
                file.write(block)
    ours.collect_in_store(folder, store, embed=embed)


def answered(records: bytes, kind: str) -> Iterator[bytes]:
    """The records in another order, each with an answer, as Bedrock writes them; some megabytes at a time."""
    lines = split_lines(records).sample(fraction=1, shuffle=True, seed=0)
    answers = pl.Series("answer", [_text()] if kind == "text" else list(_vectors()))
    for piece in lines.iter_slices(CHUNK if kind == "text" else N_VECTORS):
        index = pl.int_range(len(piece), eager=True) % len(answers)
        begun = piece["line"].str.head(-1) + ',"modelOutput":' + answers.gather(index) + "}\n"
        yield "".join(begun.to_list()).encode()


def _text() -> str:
    content = json.dumps([{"type": "text", "text": ANSWER}])
    return f'{{"id":"msg","type":"message","role":"assistant","content":{content},"stop_reason":"end_turn",{USAGE}}}'


def _vectors() -> Iterator[str]:
    drawn = np.random.default_rng(0).standard_normal((N_VECTORS, DIMENSIONS)).astype(np.float32)
    for vector in drawn / np.linalg.norm(drawn, axis=1, keepdims=True):
        yield json.dumps({"embedding": vector.tolist(), "inputTextTokenCount": 12}, separators=(",", ":"))


def _write_input(folder: Path, n_rows: int) -> None:
    pieces = []
    for start in range(0, n_rows, CHUNK):
        piece = folder / f"input-{start:09d}.part"
        _rows(start, min(CHUNK, n_rows - start)).write_parquet(piece)
        pieces.append(piece)
    pl.scan_parquet(pieces).sink_parquet(input_of(folder))
    for piece in pieces:
        piece.unlink()


def _rows(start: int, n_rows: int) -> pl.DataFrame:
    chooser = random.Random(start)  # noqa: S311 - test data
    texts = [" ".join(chooser.choices(WORDS, k=60)) for _ in range(min(n_rows, 5000))]
    index = pl.int_range(start, start + n_rows, eager=True)
    return pl.DataFrame(
        {
            "id": index.cast(pl.String).str.zfill(9),
            "transcript": [f"{texts[i % len(texts)]} {i}" for i in range(n_rows)],
            "topic": ["billing" if i % 3 else "outage" for i in range(n_rows)],
        }
    )


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
