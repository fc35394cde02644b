"""Which of a shard's rows are sent, and which share or reuse an answer."""

import hashlib
from dataclasses import dataclass, field

import polars as pl

from bedrock_assets.shards.answer_cache import PromptIndex
from bedrock_assets.storage.manifests import Digest

_IDENTITY = pl.concat_str("record_id", pl.coalesce("key", "code"), separator="=")


@dataclass
class DedupedRows:
    """
    The rows of a shard, added in order.

    A prompt is sent for the first row that has it, unless an answer is known already.
    """

    known: PromptIndex
    own: PromptIndex = field(default_factory=PromptIndex)
    _digest: Digest = field(default_factory=hashlib.sha256)
    _rows: list[pl.DataFrame] = field(default_factory=list)

    def partition_rows(self, rows: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
        """
        Add the next rows.

        Args:
            rows: record_id, `key`, and for a row without a record its error `code` and `message`; all String.

        Returns:
            Two Boolean masks: rows whose records are sent, and rows whose answer another file has or will have.
        """
        rows = rows.with_columns(key=pl.when(pl.col("code").is_null()).then("key"))
        self._digest.update(rows.select(_IDENTITY.str.join("\n")).item().encode())
        first = rows["key"].is_not_null() & rows["key"].is_first_distinct()
        if len(self.own):
            first &= self.own.find(rows["key"]).is_null()
        elsewhere = self.known.find(rows["key"].set(~first, None))
        self.own.add(rows["key"].filter(first), "")
        self._rows.append(rows.with_columns(elsewhere=elsewhere))
        return first & elsewhere.is_null(), elsewhere.is_not_null()

    @property
    def identity(self) -> str:
        """Hash of the ids of all rows, in order, and of their prompts or errors."""
        return self._digest.hexdigest()[:32]

    def rows(self) -> pl.DataFrame:
        """
        All rows that were added.

        Returns:
            record_id, code, message; `key`, null without a record; `elsewhere`, the file that has or will have the
            answer; `copy_of`, the record id of the first row with the same key, null for that row itself. All String.
        """
        first = pl.col("record_id").first().over("key")
        copy = pl.col("key").is_not_null() & (first != pl.col("record_id"))
        return pl.concat(self._rows).with_columns(copy_of=pl.when(copy).then(first))


def sent_keys(rows: pl.DataFrame) -> pl.Series:
    """The keys, String, of the rows whose records are in the shard's own file, from `DedupedRows.rows`."""
    own = pl.col("key").is_not_null() & pl.col("copy_of").is_null() & pl.col("elsewhere").is_null()
    return rows.filter(own)["key"]
