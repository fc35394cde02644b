"""Generated tables and outputs; the same for the same number of rows."""

import json
import random
import sys
from pathlib import Path

import polars as pl

from bedrock_assets.plain import format_files, plain_pipeline
from tests.benchmarks.workloads import MAX_TOKENS, MODEL, PROMPT

CHUNK = 100_000
TEXT = (
    "the customer called about an invoice that arrived late and asked whether the fee could be waived "
    'because the line was down for two days "again" and the café was closed\nagent: I see, let me check'
)
WORDS = TEXT.split(" ")


def make(folder: Path, n_rows: int) -> None:
    """Write `input.parquet`, the shards of it, and a shuffled output for each shard."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces = []
    for start in range(0, n_rows, CHUNK):
        piece = folder / f"input-{start}.parquet"
        _rows(start, min(CHUNK, n_rows - start)).write_parquet(piece)
        pieces.append(piece)
    pl.scan_parquet(pieces).sink_parquet(folder / "input.parquet")
    task = {"text": {"prompt": PROMPT, "max_tokens": MAX_TOKENS}}
    pipeline = plain_pipeline(str(folder / "input.parquet"), MODEL, task, "id")
    format_files(pipeline, folder / "shards")
    (folder / "outputs").mkdir()
    for shard in sorted((folder / "shards").glob("*.jsonl")):
        _answer(shard, folder / "outputs" / f"{shard.name}.out")


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


def _answer(shard: Path, output: Path) -> None:
    lines = shard.read_text().split("\n")[:-1]
    random.Random(0).shuffle(lines)  # noqa: S311 - test data
    with output.open("w") as file:
        for line in lines:
            record = json.loads(line)
            text = f"A short answer to {record['recordId']}. " * 4
            record["modelOutput"] = {
                "id": "msg",
                "type": "message",
                "role": "assistant",
                "content": [{"type": "text", "text": text}],
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 120, "output_tokens": 40},
            }
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]))
