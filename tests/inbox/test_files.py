"""Files that are taken out of an inbox's folder, also while somebody else puts others there."""

from pathlib import Path

import pytest

from bedrock_assets.audit import Effect
from bedrock_assets.inbox.files import InboxFile, list_files, move_away
from bedrock_assets.storage.store import Store
from tests.labs.interleaving import meanwhile

TARGET = "processed/a/a.jsonl"


def drop_of(store: Store, content: bytes = b"first\n") -> InboxFile:
    """A file in the folder, as it was looked at."""
    store.put("to-process/a.jsonl", content)
    (inbox_file,) = list_files(store, "to-process")
    return inbox_file


def test_a_file_is_taken_away(store: Store) -> None:
    """It stands where its answers are to be, with its content, and the folder is empty."""
    assert move_away(store, "to-process", drop_of(store), TARGET)
    assert store.get(TARGET) == b"first\n"
    assert list_files(store, "to-process") == []
    assert [file.key for file in store.files("processed")] == [TARGET]


def test_a_file_that_is_gone(store: Store) -> None:
    """Somebody else took it: nothing happens."""
    inbox_file = drop_of(store)
    store.delete(["to-process/a.jsonl"])
    assert not move_away(store, "to-process", inbox_file, TARGET)
    assert store.files("processed") == []


@pytest.mark.parametrize("content", [b"other\n", b"longer than the first\n"])
def test_another_file_in_its_place_stays(store: Store, content: bytes) -> None:
    """A file that was dropped under the same name meanwhile is not taken for the one that was read."""
    inbox_file = drop_of(store)
    with meanwhile("before", Effect.MOVE, TARGET, lambda: store.put("to-process/a.jsonl", content)):
        assert not move_away(store, "to-process", inbox_file, TARGET)
    assert store.get("to-process/a.jsonl") == content
    assert store.files("processed") == []


def test_a_taken_name_can_be_taken_again(store: Store) -> None:
    """A file that was taken before under that name is replaced."""
    for content in (b"first\n", b"second\n"):
        assert move_away(store, "to-process", drop_of(store, content), TARGET)
    assert store.get(TARGET) == b"second\n"


def test_a_link_that_takes_its_place_is_not_followed(tmp_path: Path) -> None:
    """A link to a file of others, in place of the one that was read, stays, and nothing is copied."""
    store = Store(str(tmp_path / "bucket"))
    inbox_file, path = drop_of(store), tmp_path / "bucket" / "to-process" / "a.jsonl"
    (tmp_path / "secret").write_text("secret")
    path.unlink()
    path.symlink_to(tmp_path / "secret")
    assert not move_away(store, "to-process", inbox_file, TARGET)
    assert path.is_symlink()
    assert store.files("processed") == []
