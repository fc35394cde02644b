"""Datasets on the Hugging Face hub, and local dataset folders, streamed by `datasets`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from typing_extensions import override

from bedrock_assets.config.source import HuggingFaceSpec
from bedrock_assets.errors import BedrockAssetsError, ConfigError, first_line
from bedrock_assets.sources.base import BATCH_ROWS, Source, explained
from bedrock_assets.sources.storable import storable

FILES_AT_ONCE = 64
"""Rows in a batch whose files, such as images, are read."""
_FILE = pl.Struct({"bytes": pl.Binary, "path": pl.String})
"""How `datasets` keeps an image or a sound: its bytes, or the path of its file."""


@dataclass(frozen=True)
class HuggingFace(Source):
    """One split, read in Arrow batches and never downloaded whole."""

    spec: HuggingFaceSpec

    @override
    def describe(self) -> str:
        revision = f"@{self.spec.revision}" if self.spec.revision else ""
        return f"huggingface:{self.spec.id}{revision}[{self.spec.split}]"

    @override
    def batches(self) -> Iterator[pl.DataFrame]:
        what = f"dataset {self.describe()}"
        with explained(what):
            try:
                for frame in self._frames():
                    plain = storable(frame, what)
                    yield from (self._with_files(rows) for rows in plain.iter_slices(self._slice_rows(plain)))
            except BedrockAssetsError:
                raise
            except Exception as error:  # the library and its readers raise errors of every kind
                raise ConfigError(f"{what} cannot be read: {first_line(error)}") from error

    def _frames(self) -> Iterator[pl.DataFrame]:
        import pyarrow as pa
        from datasets import load_dataset

        split, limit = _first_rows(self.spec.split)
        _require_rows(self.spec.id)
        dataset: Any = load_dataset(
            self.spec.id, self.spec.name, split=split, revision=self.spec.revision, streaming=True
        )
        if limit is not None:
            dataset = dataset.take(limit)
        for batch in dataset.with_format("arrow").iter(batch_size=BATCH_ROWS):
            frame = pl.from_arrow(pa.table(batch))
            yield frame if isinstance(frame, pl.DataFrame) else frame.to_frame()

    @staticmethod
    def _slice_rows(frame: pl.DataFrame) -> int:
        return FILES_AT_ONCE if _FILE in frame.dtypes else BATCH_ROWS

    def _with_files(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with the bytes of the files that they name; only files of the dataset's own folder are read."""
        folder = Path(self.spec.id).resolve()
        for name, dtype in rows.schema.items():
            if dtype == _FILE and folder.is_dir():
                values = [_read(value, folder) for value in rows[name].to_list()]
                rows = rows.with_columns(pl.Series(name, values, dtype=_FILE))
        return rows


def _first_rows(split: str) -> tuple[str, int | None]:
    """A split and how many of its rows: `train[:1000]` is cut here, as `datasets` cuts no stream."""
    cut = re.fullmatch(r"([\w.]+)\[:(\d+)\]", split)
    return (cut[1], int(cut[2])) if cut else (split, None)


def _require_rows(name: str) -> None:
    """
    Raises:
        ConfigError: A local folder has texts alone, of which `datasets` makes a row of every line.
    """
    folder = Path(name)
    found = {path.suffix.lower() for path in folder.rglob("*") if path.is_file()} if folder.is_dir() else set()
    if found == {".txt"}:
        raise ConfigError(
            f"{name!r} is a folder of texts, of which `datasets` makes a row of every line; for a row of every file "
            f"write source: {{files: {name!r}}}"
        )


def _read(value: dict[str, Any] | None, folder: Path) -> dict[str, Any] | None:
    if value is None or value["bytes"] is not None or not value["path"]:
        return value
    path = Path(value["path"]).resolve()
    return {**value, "bytes": path.read_bytes()} if path.is_relative_to(folder) and path.is_file() else value
