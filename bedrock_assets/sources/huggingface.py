"""Datasets on the Hugging Face hub, and local dataset folders, streamed by `datasets`."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl
from typing_extensions import override

from bedrock_assets.config.source import HuggingFaceSpec
from bedrock_assets.errors import ConfigError
from bedrock_assets.sources.base import BATCH_ROWS, Source


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
        import pyarrow as pa
        from datasets import load_dataset

        try:
            dataset = load_dataset(
                self.spec.id, self.spec.name, split=self.spec.split, revision=self.spec.revision, streaming=True
            )
            for batch in dataset.with_format("arrow").iter(batch_size=BATCH_ROWS):
                frame = pl.from_arrow(pa.table(batch))
                yield frame if isinstance(frame, pl.DataFrame) else frame.to_frame()
        except (OSError, ValueError) as error:
            raise ConfigError(f"dataset {self.describe()} cannot be read: {error}") from error
