"""What all ways of a stage share: the model, the prompt, the pipelines, and where the files are."""

from pathlib import Path
from typing import Any

HAIKU = "anthropic.claude-haiku-4-5-20251001-v1:0"
TITAN = "amazon.titan-embed-text-v2:0"
PROMPT = "Summarise this call in two sentences:\n\n{transcript}\n\nTopic: {topic}"
MAX_TOKENS = 256
VERSION = "bedrock-2023-05-31"
DIMENSIONS = 1024

TEXT = {"text": {"prompt": PROMPT, "max_tokens": MAX_TOKENS}}
EMBEDDING = {"embedding": {"column": "topic", "dimensions": DIMENSIONS}}


def input_of(folder: Path) -> str:
    """The table that all stages start from: id, transcript, topic, all text."""
    return str(folder / "input.parquet")


def outputs_of(folder: Path) -> list[Path]:
    """The lines that Bedrock gave back, a file a shard."""
    return sorted((folder / "outputs").glob("*.jsonl.out"))


def spec_of(source: dict[str, Any], *, embed: bool = False) -> dict[str, Any]:
    """A pipeline's YAML, as it would be written for that source."""
    return {
        "name": "calls",
        "source": source,
        "model": TITAN if embed else HAIKU,
        "task": EMBEDDING if embed else TEXT,
        "limits": {"max_jobs": 1},
    }
