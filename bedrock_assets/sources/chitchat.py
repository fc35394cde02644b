"""
Real conversations between people: the `chitchat-dataset` package from PyPI (MIT, 7,168 conversations).

Source: `chitchat_dataset/dataset.json` of release 0.9.0. A conversation is a list of turns; a turn is a list of
messages `{text, timestamp, sender}` by one person. `n_turns` counts messages, as a reader of the transcript would:
3,626 conversations have at least six.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
from typing_extensions import override

from bedrock_assets.config.source import ChitchatSpec
from bedrock_assets.errors import ConfigError
from bedrock_assets.sources.base import BATCH_ROWS, Source

SCHEMA = {
    "id": pl.String,
    "opening_prompt": pl.String,
    "transcript": pl.String,
    "n_turns": pl.Int32,
    "started_at": pl.Datetime("us", "UTC"),
}


@dataclass(frozen=True)
class Chitchat(Source):
    """One row per conversation: id, opening prompt, transcript, number of turns, time of the first message."""

    spec: ChitchatSpec

    @override
    def describe(self) -> str:
        return f"chitchat-dataset[min_turns={self.spec.min_turns}]"

    @override
    def columns(self) -> list[str] | None:
        return list(SCHEMA)

    @override
    def batches(self) -> Iterator[pl.DataFrame]:
        rows = [row for row in map(_row, self._load().items()) if row["n_turns"] >= self.spec.min_turns]
        yield from pl.DataFrame(rows, schema=SCHEMA).iter_slices(BATCH_ROWS)

    def _load(self) -> dict[str, Any]:
        package = find_spec("chitchat_dataset")
        if package is None or package.origin is None:
            raise ConfigError(
                "source chitchat needs the package chitchat-dataset; run `pip install 'bedrock-assets[demo]'`"
            )
        return json.loads((Path(package.origin).parent / "dataset.json").read_text("utf-8"))


def _row(item: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    key, conversation = item
    messages = [message for turn in conversation["messages"] for message in turn]
    names: dict[str, str] = {}
    for message in messages:
        names.setdefault(message["sender"], f"Speaker {chr(ord('A') + len(names) % 26)}")
    return {
        "id": key,
        "opening_prompt": conversation.get("prompt"),
        "transcript": "\n".join(f"{names[message['sender']]}: {message['text']}" for message in messages),
        "n_turns": len(messages),
        "started_at": datetime.fromisoformat(messages[0]["timestamp"]) if messages else None,
    }
