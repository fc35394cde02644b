"""What a shard's rows say, and where each one's answer comes from."""

import hashlib
from dataclasses import dataclass, field

import polars as pl

from bedrock_assets.shards.answer_cache import PromptIndex
from bedrock_assets.storage.manifests import Digest

_SAID = pl.concat_str("record_id", pl.coalesce("key", "code"), separator="=")


@dataclass
class DedupedRows:
    """
    The fates of a shard's rows, added in order.

    A prompt is sent for the first row that has it, unless its answer is known to be somewhere else.
    """

    known: PromptIndex
    own: PromptIndex = field(default_factory=PromptIndex)
    _digest: Digest = field(default_factory=hashlib.sha256)
    _kept: list[pl.DataFrame] = field(default_factory=list)

    def partition_rows(self, fates: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
        """
        Args:
            fates: record_id, code, message and `key`, all String, of the next rows.

        Returns:
            Two masks: rows whose records are to be sent, and rows whose prompts are answered elsewhere.
        """
        fates = fates.with_columns(key=pl.when(pl.col("code").is_null()).then("key"))
        self._digest.update(fates.select(_SAID.str.join("\n")).item().encode())
        first = fates["key"].is_not_null() & fates["key"].is_first_distinct()
        if len(self.own):
            first &= self.own.find(fates["key"]).is_null()
        elsewhere = self.known.find(fates["key"].set(~first, None))
        self.own.add(fates["key"].filter(first), "")
        self._kept.append(fates.with_columns(elsewhere=elsewhere))
        return first & elsewhere.is_null(), elsewhere.is_not_null()

    @property
    def identity(self) -> str:
        """Hash of all rows in order, and of what each says."""
        return self._digest.hexdigest()[:32]

    def fates(self) -> pl.DataFrame:
        """
        All rows.

        Returns:
            record_id, code, message; `key`, null without a record; `elsewhere`, the file that has or will have the
            answer; `copy_of`, the record id of the first row with the same key, null for that row itself. All String.
        """
        first = pl.col("record_id").first().over("key")
        copy = pl.col("key").is_not_null() & (first != pl.col("record_id"))
        return pl.concat(self._kept).with_columns(copy_of=pl.when(copy).then(first))


def sent_keys(fates: pl.DataFrame) -> pl.Series:
    """The keys, String, of the rows whose records stand in the shard's own file."""
    own = pl.col("key").is_not_null() & pl.col("copy_of").is_null() & pl.col("elsewhere").is_null()
    return fates.filter(own)["key"]
