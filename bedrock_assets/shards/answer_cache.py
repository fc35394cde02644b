"""
Answers that are there already: of earlier runs, and of rows of the same dataset with the same prompt.

An answer's key is a hash of all that the model is told: the rendered prompt, the model and every parameter. Each
shard's paid answers are kept once under their keys, in a file of their own; a row whose key is in one of these files,
or is being answered for a shard before its own, is not sent again.

Looking a prompt up takes 60 bits of its key, 8 bytes a row in memory; reading its answer takes all of it. Two prompts
that agree in 60 bits and no more (for 10 million rows, one in twenty thousand runs) cost nothing but time: the answer
is not found, and the row is sent with the shard's next attempt.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import polars as pl

from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.records import KEY
from bedrock_assets.storage.keys import shard_bit
from bedrock_assets.storage.store import Store

ANSWER_KEY = "key"
_HEX_DIGITS = 15
"""What fits into a signed integer of 64 bits."""
_MERGED_RATIO = 2
"""Sorted runs are merged when the older is not this much larger, so that there are few of them."""
KEPT_BEYOND = timedelta(days=8)
"""A file that is too old to be used may still be waited for by a shard whose job takes up to a week."""


def answers_folder(pipeline: str) -> str:
    return f"{pipeline}/answers"


def answers_key(pipeline: str, shard: str, fingerprint: str) -> str:
    """Where the answers that were paid for a shard's content are kept under their keys."""
    return f"{answers_folder(pipeline)}/{shard}-{fingerprint}.parquet"


@dataclass
class PromptIndex:
    """Which file has, or will have, the answer to a key."""

    files: list[str] = field(default_factory=list)
    shards: dict[str, str] = field(default_factory=dict)
    """Of the files that are yet to be written, the shard that brings each."""
    _runs: list[pl.DataFrame] = field(default_factory=list)
    """`hash` Int64, sorted, and `file` UInt32, the position in *files*."""

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def add(self, keys: pl.Series, file: str, shard: str | None = None) -> None:
        """*keys*, String, are answered in *file*, or will be when *shard* is; a key keeps its first file."""
        if keys.is_empty():
            return
        self.files.append(file)
        if shard:
            self.shards[file] = shard
        number = pl.lit(len(self.files) - 1, pl.UInt32)
        run = keys.to_frame(KEY).select(hash=_hash(pl.col(KEY)), file=number).sort("hash")
        while self._runs and len(self._runs[-1]) < _MERGED_RATIO * len(run):
            run = pl.concat([self._runs.pop(), run]).sort("hash", maintain_order=True)
        self._runs.append(run)

    def pending(self, files: pl.Series) -> str:
        """The shards that bring those of *files*, String, that are yet to be written, as `ShardManifest.waits_for`."""
        bits = {shard_bit(self.shards[file]) for file in files.drop_nulls().unique() if file in self.shards}
        return f"{sum(bits):x}"

    def find(self, keys: pl.Series) -> pl.Series:
        """The file, String, of each of *keys*, String; null where there is none."""
        hashes = keys.to_frame(KEY).select(_hash(pl.col(KEY))).to_series()
        found = pl.Series([None], dtype=pl.UInt32).new_from_index(0, len(keys))
        for run in self._runs:
            at = run["hash"].search_sorted(hashes, "left").clip(0, len(run) - 1)
            here = run[at].select(pl.when(pl.col("hash") == hashes).then("file")).to_series()
            found = found.zip_with(found.is_not_null(), here)
        names = pl.Series(self.files, dtype=pl.String)
        return names.gather(found) if self.files else found.cast(pl.String)


def read_prompt_index(
    store: Store, pipeline: Pipeline, now: datetime | None = None, *, prune: bool = True
) -> PromptIndex:
    """The answers of earlier runs that are young enough to be used; files too old to be of use are deleted."""
    known, days = PromptIndex(), timedelta(days=pipeline.spec.reuse_answers_days)
    now = now or datetime.now(UTC)
    files = sorted(store.files(answers_folder(pipeline.spec.name)), key=lambda f: (f.modified_at, f.key), reverse=True)
    for file in files:
        if now - file.modified_at < days:
            known.add(store.scan_parquet([file.key]).select(ANSWER_KEY).collect().to_series(), file.key)
    if prune:
        store.delete([file.key for file in files if now - file.modified_at > days + KEPT_BEYOND])
    return known


def read_answers(store: Store, wanted: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """
    Args:
        wanted: wire_id, `key` and `elsewhere`, all String: the rows, and the file that each one's answer is in.

    Yields:
        For each file that is there: wire_id, and the columns of the answers' file but the key.
    """
    for (file,), rows in wanted.group_by("elsewhere", maintain_order=True):
        if store.exists(str(file)):
            answers = store.scan_parquet([str(file)])
            kept = answers.filter(pl.col(ANSWER_KEY).is_in(rows["key"].implode())).collect()
            yield rows.select("wire_id", ANSWER_KEY).join(kept, on=ANSWER_KEY, how="inner").drop(ANSWER_KEY)


def write_answers(store: Store, key: str, answers: pl.DataFrame, columns: Sequence[str]) -> None:
    """
    Keep answers under their keys.

    Args:
        answers: `key` String, a key at most once, and *columns*.
    """
    if len(answers):
        with store.writer(key) as file:
            answers.select(ANSWER_KEY, *columns).sort(ANSWER_KEY).write_parquet(file)


def _hash(key: pl.Expr) -> pl.Expr:
    return key.str.head(_HEX_DIGITS).str.to_integer(base=16, dtype=pl.Int64)
