"""The store: keys stay inside, files appear whole, errors are its own."""

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bedrock_assets.errors import ConfigError, StoreError
from bedrock_assets.limits import S3_URI
from bedrock_assets.storage.keys import (
    attempt_folder,
    attempt_input_key,
    outputs_key,
    raw_part_key,
    shard_manifest_key,
    table_part_key,
)
from bedrock_assets.storage.manifests import RawManifest
from bedrock_assets.storage.objects import whole_lines
from bedrock_assets.storage.store import Store

MB = 1_000_000
OPERATIONS: list[Callable[[Store, str], object]] = [
    lambda store, key: store.put(key, b"x"),
    lambda store, key: store.get(key),
    lambda store, key: store.exists(key),
    lambda store, key: store.size(key),
    lambda store, key: store.files(key),
    lambda store, key: store.delete([key]),
    lambda store, key: store.move("a", key),
    lambda store, key: store.move(key, "a"),
    lambda store, key: list(store.chunks(key)),
    lambda store, key: store.writer(key).__enter__(),
    lambda store, key: store.version(key),
    lambda store, key: store.replace(key, b"x", None),
    lambda store, key: store.read_model(key, RawManifest),
    lambda store, key: store.scan_parquet([key]),
    lambda store, key: store.parquet_facts(key),
]


@pytest.mark.parametrize(
    "key", ["../x", "a/../x", "/etc/x", "a//x", "", "a/", "a b", "shard=1", "a\n", "é", "~/x", "a\\x", "a/./x", "."]
)
def test_keys_stay_in_the_store(store: Store, key: str, subtests: pytest.Subtests) -> None:
    """A key that leads outside, or that Bedrock would refuse in a URI, is refused by every operation."""
    for number, operation in enumerate(OPERATIONS):
        with (
            subtests.test(operation=number),
            pytest.raises(StoreError, match="would leave the store or break Bedrock's S3 URI pattern"),
        ):
            operation(store, key)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_store_that_cannot_be_opened(tmp_path: Path, operation: Callable[[Store, str], object]) -> None:
    """Where a file stands in the store's place, every operation on objects is a StoreError, or finds nothing."""
    (tmp_path / "bucket").write_text("a file")
    for url in (tmp_path / "bucket", tmp_path / "bucket" / "below"):
        store = Store(str(url))
        if operation is OPERATIONS[-2]:
            continue  # a lazy scan reads nothing yet
        with pytest.raises(StoreError, match="store"):
            operation(store, "key")


def test_what_is_put_is_got(store: Store) -> None:
    """Files come back as they were written, with their sizes, sorted by key; a second put replaces the first."""
    store.put("a/2", b"old")
    store.put("a/2", b"new!")
    store.put("a/10/x", b"")
    store.put("ab/3", b"beside")
    assert (store.get("a/2"), store.size("a/2"), store.exists("a/2")) == (b"new!", 4, True)
    assert [(file.key, file.n_bytes) for file in store.files("a")] == [("a/10/x", 0), ("a/2", 4)]
    assert abs(store.files("a")[0].modified_at - datetime.now(UTC)) < timedelta(minutes=5)
    store.move("a/2", "a/10/x")
    assert (store.get("a/10/x"), store.exists("a/2")) == (b"new!", False)
    store.delete(["a/10/x", "gone"])
    assert store.files("a") == []


@pytest.mark.parametrize("n_bytes", [10, 40 * MB])
def test_a_writer_publishes_whole_files(store: Store, n_bytes: int) -> None:
    """A stream is not visible while it is written, and is whole afterwards."""
    with store.writer("a/x.bin") as file:
        file.write(b"x" * n_bytes)
        assert not store.exists("a/x.bin")
        assert store.files("a") == []
    assert store.size("a/x.bin") == n_bytes


def write_and_fail(store: Store, key: str, n_bytes: int) -> None:
    """Write a stream that ends in an exception."""
    with store.writer(key) as file:
        file.write(b"x" * n_bytes)
        raise ZeroDivisionError


@pytest.mark.parametrize("n_bytes", [10, 40 * MB])
def test_a_writer_that_fails_publishes_nothing(store: Store, n_bytes: int) -> None:
    """After an exception nothing is visible, and what stood under the key before is still there."""
    store.put("a/old.bin", b"old")
    for key in ("a/old.bin", "a/new.bin"):
        with pytest.raises(ZeroDivisionError):
            write_and_fail(store, key, n_bytes)
    assert [(file.key, file.n_bytes) for file in store.files("a")] == [("a/old.bin", 3)]
    assert store.get("a/old.bin") == b"old"


def put_below_a_file(store: Store) -> None:
    """Write where a folder would have to be."""
    store.put("text/below", b"")


@pytest.mark.parametrize(
    "operation",
    [
        lambda store: store.get("missing"),
        lambda store: store.size("missing"),
        lambda store: store.move("missing", "there"),
        lambda store: list(store.chunks("missing")),
        lambda store: store.parquet_facts("missing"),
        lambda store: store.parquet_facts("text"),
        put_below_a_file,
    ],
)
def test_errors_are_the_stores_own(store: Store, operation: Callable[[Store], object]) -> None:
    """A missing file, one of another kind, a folder that is a file: each is a StoreError that names key and store."""
    store.put("text", b"no Parquet")
    if not store.is_local and operation is put_below_a_file:
        operation(store)  # S3 has no folders
        return
    with pytest.raises(
        StoreError,
        match=r"cannot (read|write) '(missing|there|text/below)' in store '.*bucket.*'|/text cannot be read, it is cut",
    ):
        operation(store)


def test_documents(store: Store) -> None:
    """A document that is not there is None, one that is broken is an error with its path."""
    assert store.read_model("raw.json", RawManifest) is None
    store.put("raw.json", b'{"n_rows": "many"}')
    with pytest.raises(StoreError, match=r"raw\.json is not a RawManifest"):
        store.read_model("raw.json", RawManifest)


def test_uris() -> None:
    """A local folder's name is its bucket; an S3 URL keeps its prefix, with or without a slash at the end."""
    assert Store("some/where/my-bucket").uri("a/b.jsonl") == "s3://my-bucket/a/b.jsonl"
    for url in ("s3://my-bucket/pre/fix", "s3://my-bucket/pre/fix/"):
        assert Store(url).uri("a/b.jsonl") == Store(url).path("a/b.jsonl") == "s3://my-bucket/pre/fix/a/b.jsonl"
        assert not Store(url).is_local


@pytest.mark.parametrize("name", ["My_Bucket", "b", "a b", "-bucket", "x" * 64])
def test_a_folder_that_is_no_bucket(tmp_path: Path, name: str) -> None:
    """A folder whose name no bucket could have has no URIs, and says what is allowed."""
    with pytest.raises(ConfigError, match="is not a bucket name; use 3 to 63 lower-case"):
        Store(str(tmp_path / name)).uri("a")


@given(
    pipeline=st.from_regex(r"[a-z][a-z0-9_]{0,39}", fullmatch=True),
    shard=st.from_regex(r"[0-9]{5,6}-of-[0-9]{5,6}", fullmatch=True),
    fingerprint=st.from_regex(r"[0-9a-f]{16}", fullmatch=True),
    attempt=st.integers(1, 9),
)
def test_every_key_is_a_uri_that_bedrock_takes(pipeline: str, shard: str, fingerprint: str, attempt: int) -> None:
    """The keys of all stages, of any pipeline and shard, make URIs of Bedrock's pattern."""
    keys = [
        attempt_folder(pipeline, shard, fingerprint, attempt),
        attempt_input_key(pipeline, shard, fingerprint, attempt),
        shard_manifest_key(pipeline, shard),
        outputs_key(pipeline, shard),
        raw_part_key(pipeline, fingerprint[:8], attempt),
        table_part_key(pipeline, attempt),
    ]
    for url in ("my-bucket", "s3://my-bucket/pre"):
        assert all(S3_URI.fullmatch(Store(url).uri(key)) for key in keys)


class Trickle(io.BytesIO):
    """A file that hands out few bytes at a time, as a slow connection does."""

    def __init__(self, content: bytes, n_bytes: int) -> None:
        super().__init__(content)
        self.n_bytes = n_bytes

    def read(self, size: int | None = -1) -> bytes:
        return super().read(self.n_bytes)


@given(
    lines=st.lists(st.sampled_from([b"", b"a", b"\xc2\x85", b"a long line, longer than a piece"])),
    n=st.integers(1, 40),
    end=st.booleans(),
)
def test_chunks_end_with_newlines(lines: list[bytes], n: int, end: bool) -> None:
    """However a file arrives, its pieces are its content in order, and each but the last ends with a newline."""
    content = b"\n".join(lines) + b"\n" * end
    pieces = list(whole_lines(Trickle(content, n)))
    assert b"".join(pieces) == content
    assert all(piece.endswith(b"\n") for piece in pieces[:-1])
    assert all(pieces)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=3)
@given(line_mb=st.sampled_from([1, 7, 40]))
def test_chunks_of_a_large_file(store: Store, line_mb: int) -> None:
    """Files larger than a chunk come in several pieces of whole lines; a line longer than a chunk is one piece."""
    line = b"x" * (line_mb * MB) + b"\n"
    n_lines = 120 // line_mb // 3 + 1
    with store.writer("large.jsonl") as file:
        for _ in range(n_lines):
            file.write(line)
    pieces = list(store.chunks("large.jsonl"))
    assert len(pieces) > 1
    assert all(piece.endswith(b"\n") for piece in pieces)
    assert sum(map(len, pieces)) == n_lines * len(line)
    if line_mb > 16:
        assert pieces == [line] * n_lines
