"""
The stages that are measured, and the ways through each: `python -m tests.benchmarks.stages STAGE/WAY FOLDER` runs one.

A way is a function that is named after its stage, in a module that is imported only by the process that runs it.
"""

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

VECTOR_SHARE = 20
"""For so many rows of text there is one vector in the stage that reads vectors, whose lines are so much longer."""
_MODULES = {"ours": "ours", "pandas": "loops", "orjson": "loops", "duckdb": "engines", "floor": "engines"}


@dataclass(frozen=True)
class Stage:
    """A stage and what it is compared with."""

    name: str
    title: str
    ways: tuple[str, ...]
    data: str
    """What has to be made before: `text`, `vectors`, `text_store`, `csv` or `dataset`."""

    def n_items(self, n_rows: int) -> int:
        """Rows that the stage works on."""
        return max(1, n_rows // VECTOR_SHARE) if self.data == "vectors" else n_rows


_ALL = ("ours", "pandas", "orjson", "duckdb", "floor")
_TABLES = ("ours", "pandas", "duckdb", "floor")

STAGES = {
    stage.name: stage
    for stage in (
        Stage("format", "format to JSONL shards", _ALL, "text"),
        Stage("parse", "parse text outputs", _ALL, "text"),
        Stage("embed", "parse embeddings of 1,024 floats", _ALL, "vectors"),
        Stage("join", "join to the final table", _TABLES, "text_store"),
        Stage("ingest_parquet", "raw ingest from Parquet", _TABLES, "text"),
        Stage("ingest_csv", "raw ingest from CSV", _TABLES, "csv"),
        Stage("ingest_datasets", "raw ingest from `datasets`", ("ours", "pandas", "floor"), "dataset"),
    )
}


def way_of(name: str) -> Callable[[Path], None]:
    """The function behind `stage/way`."""
    stage, way = name.split("/")
    module = importlib.import_module(f"tests.benchmarks.{_MODULES[way]}")
    return getattr(module, stage if way == "ours" else f"{way}_{stage}")


if __name__ == "__main__":
    way_of(sys.argv[1])(Path(sys.argv[2]))
