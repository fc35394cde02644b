"""
The plain ways: one Python dict and one call of a JSON library for each row.

`pandas_*` is what public samples do: `DataFrame.iterrows` and `json` on the way in, a list of dicts and a merge on the
way out. `orjson_*` is the fastest such loop: `orjson`, and polars around it.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.setting import MAX_TOKENS, PROMPT, VERSION, input_of, outputs_of

Record = dict[str, Any]


def pandas_format(folder: Path) -> None:
    """The rows of a pandas frame, one by one, and `json`."""
    import pandas as pd

    rows = (row for _, row in pd.read_parquet(input_of(folder)).iterrows())
    with (folder / "pandas.jsonl").open("w") as file:
        file.writelines(json.dumps(_request(row)) + "\n" for row in rows)


def orjson_format(folder: Path) -> None:
    """The rows of a polars frame, one by one, and `orjson`."""
    import orjson
    import polars as pl

    rows = pl.read_parquet(input_of(folder)).iter_rows(named=True)
    with (folder / "orjson.jsonl").open("wb") as file:
        file.writelines(orjson.dumps(_request(row), option=orjson.OPT_APPEND_NEWLINE) for row in rows)


def pandas_parse(folder: Path) -> None:
    """`json`, a list of dicts and a merge."""
    _merge(folder, map(_text, _records(folder, json.loads)))


def orjson_parse(folder: Path) -> None:
    """`orjson`, a list of dicts and a join."""
    import orjson

    _join(folder, list(map(_text, _records(folder, orjson.loads))))


def pandas_embed(folder: Path) -> None:
    """`json`, Python lists of floats and a merge."""
    _merge(folder, map(_vector, _records(folder, json.loads)))


def orjson_embed(folder: Path) -> None:
    """`orjson`, an array of 32-bit floats for each vector, and a join."""
    import numpy as np
    import orjson

    answers = [_vector(record) for record in _records(folder, orjson.loads, convert=np.float32)]
    _join(folder, answers)


def pandas_join(folder: Path) -> None:
    """All parts read, and a merge."""
    import pandas as pd

    store = folder / "store" / "calls"
    rows = pd.concat([pd.read_parquet(path) for path in sorted(store.glob("raw/*/*.parquet"))])
    answers = pd.concat([pd.read_parquet(path) for path in sorted(store.glob("outputs/*.parquet"))])
    rows.merge(answers, on="record_id", how="left").to_parquet(folder / "pandas.parquet", compression="zstd")


def pandas_ingest_parquet(folder: Path) -> None:
    """Read whole, number the rows, write."""
    import pandas as pd

    _number(folder, pd.read_parquet(input_of(folder)))


def pandas_ingest_csv(folder: Path) -> None:
    """The same from CSV."""
    import pandas as pd

    _number(folder, pd.read_csv(folder / "input.csv", dtype=str))


def pandas_ingest_datasets(folder: Path) -> None:
    """The rows of a dataset, one by one, as a list of dicts."""
    import pandas as pd
    from datasets import load_dataset

    _number(folder, pd.DataFrame(list(load_dataset(str(folder / "dataset"), split="train", streaming=True))))


def _number(folder: Path, frame: Any) -> None:
    frame["record_id"] = [f"{i:09d}" for i in range(len(frame))]
    frame.to_parquet(folder / "pandas.parquet", compression="zstd")


def _request(row: Mapping[str, Any]) -> Record:
    content = [{"type": "text", "text": PROMPT.format(**row)}]
    body = {"anthropic_version": VERSION, "max_tokens": MAX_TOKENS, "messages": [{"role": "user", "content": content}]}
    return {"recordId": row["id"], "modelInput": body}


def _records(
    folder: Path, loads: Callable[[bytes], Record], convert: Callable[[Any], Any] | None = None
) -> Iterator[Record]:
    for path in outputs_of(folder):
        with path.open("rb") as file:
            for line in file:
                record = loads(line)
                if convert:
                    import numpy as np

                    output = record["modelOutput"]
                    output["embedding"] = np.array(output["embedding"], dtype=convert)
                yield record


def _text(record: Record) -> Record:
    output = record.get("modelOutput") or {}
    return {
        "id": record["recordId"],
        "response": "".join(block["text"] for block in output.get("content", [])),
        "stop_reason": output.get("stop_reason"),
        **output.get("usage", {}),
    }


def _vector(record: Record) -> Record:
    output = record.get("modelOutput") or {}
    tokens = output.get("inputTextTokenCount")
    return {"id": record["recordId"], "embedding": output.get("embedding"), "input_tokens": tokens}


def _merge(folder: Path, answers: Iterable[Record]) -> None:
    import pandas as pd

    joined = pd.read_parquet(input_of(folder)).merge(pd.DataFrame(list(answers)), on="id", how="left")
    joined.to_parquet(folder / "pandas.parquet", compression="zstd")


def _join(folder: Path, answers: list[Record]) -> None:
    import polars as pl

    pl.read_parquet(input_of(folder)).join(pl.DataFrame(answers), on="id", how="left").write_parquet(
        folder / "orjson.parquet"
    )
