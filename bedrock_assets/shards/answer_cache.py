"""
Answers that can be reused: those of earlier runs, and those of rows with the same prompt in the same dataset.

An answer's key is a hash of everything that the model gets: the rendered prompt, the model and every parameter. The
answers that were paid for a shard are kept in one file under their keys. A row is not sent again if its key is in one
of these files, or if an earlier shard is already sending the same prompt.

The index in memory holds 60 bits of each key, 8 bytes a row; an answer is read by its whole key. If two prompts agree
in these 60 bits (for 10 million rows, one in twenty thousand runs), no answer is found for the second one, and its row
is sent with the shard's next attempt.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import polars as pl

from bedrock_assets.errors import BrokenFile
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.records import KEY
from bedrock_assets.storage.keys import shard_bit
from bedrock_assets.storage.store import Store

ANSWER_KEY = "key"
_HEX_DIGITS = 15
"""Hex digits of a key that fit into a signed 64-bit integer."""
_MERGE_RATIO = 2
"""The last sorted run is merged with a new one that is more than half its size, so that there are few runs."""
KEPT_BEYOND = timedelta(days=8)
"""Files are deleted this much later than they expire: a shard whose job takes up to a week may still need one."""


def answers_folder(pipeline: str) -> str:
    """Folder of a pipeline's reusable answers."""
    return f"{pipeline}/answers"


def answers_key(pipeline: str, shard: str, fingerprint: str) -> str:
    """File of the answers that were paid for one version of a shard."""
    return f"{answers_folder(pipeline)}/{shard}-{fingerprint}.parquet"


@dataclass
class PromptIndex:
    """The file that has, or will have, the answer to each key."""

    files: list[str] = field(default_factory=list)
    shards: dict[str, str] = field(default_factory=dict)
    """The shard that will write each file that does not exist yet."""
    _runs: list[pl.DataFrame] = field(default_factory=list)
    """`hash` Int64, sorted, and `file` UInt32, the position in *files*."""

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def add(self, keys: pl.Series, file: str, shard: str | None = None) -> None:
        """
        Add keys; a key that is known already keeps its file.

        Args:
            keys: String.
            file: File that has their answers.
            shard: The shard that will write the file, if it does not exist yet.
        """
        if keys.is_empty():
            return
        self.files.append(file)
        if shard:
            self.shards[file] = shard
        position = pl.lit(len(self.files) - 1, pl.UInt32)
        run = keys.to_frame(KEY).select(hash=_hash(pl.col(KEY)), file=position).sort("hash")
        while self._runs and len(self._runs[-1]) < _MERGE_RATIO * len(run):
            run = pl.concat([self._runs.pop(), run]).sort("hash", maintain_order=True)
        self._runs.append(run)

    def pending(self, files: pl.Series) -> str:
        """The shards that will write those of *files*, String, that do not exist yet, as `ShardManifest.blocked_by`."""
        bits = {shard_bit(self.shards[file]) for file in files.drop_nulls().unique() if file in self.shards}
        return f"{sum(bits):x}"

    def find(self, keys: pl.Series) -> pl.Series:
        """The file of each of *keys*, both String; null for a key that is not known."""
        hashes = keys.to_frame(KEY).select(_hash(pl.col(KEY))).to_series()
        positions = pl.Series([None], dtype=pl.UInt32).new_from_index(0, len(keys))
        for run in self._runs:
            row = run["hash"].search_sorted(hashes, "left").clip(0, len(run) - 1)
            matches = run[row].select(pl.when(pl.col("hash") == hashes).then("file")).to_series()
            positions = positions.zip_with(positions.is_not_null(), matches)
        return pl.Series(self.files, dtype=pl.String).gather(positions) if self.files else positions.cast(pl.String)


def read_prompt_index(
    store: Store, pipeline: Pipeline, now: datetime | None = None, *, prune: bool = True
) -> PromptIndex:
    """
    Index the answers of earlier runs that are young enough to be reused.

    Args:
        prune: Delete files that are too old.
    """
    known, days = PromptIndex(), timedelta(days=pipeline.spec.reuse_answers_days)
    now = now or datetime.now(UTC)
    files = sorted(store.files(answers_folder(pipeline.spec.name)), key=lambda f: (f.modified_at, f.key), reverse=True)
    for file in files:
        if now - file.modified_at < days:
            with suppress(BrokenFile):  # its answers are asked for again
                known.add(store.read_parquet(file.key, lambda rows: rows.select(ANSWER_KEY)).to_series(), file.key)
    if prune:
        store.delete([file.key for file in files if now - file.modified_at > days + KEPT_BEYOND])
    return known


def read_answers(store: Store, wanted: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """
    Read reused answers, one file at a time; a file that does not exist, or is broken, is skipped.

    Args:
        wanted: wire_id, `key` and `elsewhere` (the file with the answer), all String.

    Yields:
        wire_id, and the columns of the file except the key.
    """
    for (file,), rows in wanted.group_by("elsewhere", maintain_order=True):
        if store.is_parquet(str(file)):
            kept = store.read_parquet(str(file)).filter(pl.col(ANSWER_KEY).is_in(rows["key"].implode()))
            yield rows.select("wire_id", ANSWER_KEY).join(kept, on=ANSWER_KEY, how="inner").drop(ANSWER_KEY)


def write_answers(store: Store, key: str, answers: pl.DataFrame, columns: Sequence[str]) -> None:
    """
    Write answers for later reuse.

    Args:
        answers: `key`, String and unique, and *columns*.
    """
    if len(answers):
        with store.writer(key) as file:
            answers.select(ANSWER_KEY, *columns).sort(ANSWER_KEY).write_parquet(file)


def _hash(key: pl.Expr) -> pl.Expr:
    return key.str.head(_HEX_DIGITS).str.to_integer(base=16, dtype=pl.Int64)
