"""Files that are dropped into an inbox: taken, answered under the pool's limit, or refused with a reason."""

import json
from pathlib import Path

from bedrock_assets.ledger import State
from tests.inbox_lab import lines, open_lab


def test_a_dropped_file_is_answered(tmp_path: Path) -> None:
    """A file becomes a partition, moves beside its outputs, and its answers stand there, each with its own record."""
    with open_lab(tmp_path) as lab:
        lab.drop("first.jsonl", lines(10))
        assert lab.finish() == {"first": State.ANSWERED}
        assert lab.left == []
        answers = lab.answers("first")
        assert answers["record_id"].to_list() == [f"r{i}" for i in range(10)]
        assert set(answers["status"]) == {"ok"}
        assert all(f"invoice {i}" in text for i, text in enumerate(answers["response"]))
        folder = Path(lab.store.root) / "processed" / "first"
        assert (folder / "first.jsonl").read_bytes() == lines(10)
        (out,) = folder.rglob("*.jsonl.out")
        assert {json.loads(line)["recordId"] for line in out.read_text().splitlines()} == set(answers["record_id"])
        assert len(lab.jobs()) == 1
