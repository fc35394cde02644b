"""Buckets that are folders, and what only they could get wrong."""

from pathlib import Path

from tests.emulator.lab import Lab
from tests.emulator.worlds import Folders


def test_a_link_does_not_lead_out_of_the_store(lab: Lab, tmp_path: Path) -> None:
    """A bucket that is a link to a folder elsewhere is not a bucket."""
    assert isinstance(lab.world, Folders)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.jsonl").write_text("{}")
    (lab.world.root / "linked-bucket").symlink_to(tmp_path / "elsewhere")
    assert "GetObject" in lab.wait(lab.create("a-job", "s3://linked-bucket/x.jsonl"))["message"]
