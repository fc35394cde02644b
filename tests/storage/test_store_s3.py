"""What is peculiar to a store in S3, on a real server: uploads in parts, keys of others, copies of large files."""

import os
import subprocess
import sys

import polars as pl
import psutil
import pytest

from bedrock_assets.errors import StoreError
from bedrock_assets.limits import GB
from bedrock_assets.storage.objects import PART_BYTES
from bedrock_assets.storage.parquet import write_frames
from bedrock_assets.storage.store import Store
from tests.conftest import STORE_BUCKET
from tests.emulator.worlds import S3
from tests.labs.identity import open_place

MB = 1_000_000
MAX_PARTS = 10_000
"""Of one upload (Amazon S3 user guide, 2026-11)."""
LARGEST_JOB = 100 * GB
"""That Bedrock is known to take, in all files together."""


@pytest.fixture
def store(s3_store: Store) -> Store:
    """A prefix of its own on a real S3 server."""
    return s3_store


def uploads(server: S3, store: Store) -> list[str]:
    """Keys of uploads that are neither finished nor given up."""
    found = server.client.list_multipart_uploads(Bucket=STORE_BUCKET).get("Uploads", [])
    return [each["Key"] for each in found if each["Key"].startswith(store.s3.full_key(""))]


def key_of(store: Store, name: str) -> str:
    """A foreign key below the store's folder `calls`."""
    return store.s3.full_key(f"calls/{name}")


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_writer_that_fails_leaves_no_upload(store: Store, seaweedfs: S3, error: type[BaseException]) -> None:
    """Whatever ends the block, parts that are there already are given up, and the file before them stays."""
    store.put("calls/a.bin", b"old")

    def fail() -> None:
        with store.writer("calls/a.bin") as file:
            file.write(b"x" * (3 * PART_BYTES))
            assert uploads(seaweedfs, store) == [key_of(store, "a.bin")]
            raise error

    with pytest.raises(error):
        fail()
    assert uploads(seaweedfs, store) == []
    assert store.get("calls/a.bin") == b"old"


def test_a_part_that_fails_leaves_no_upload(store: Store, seaweedfs: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the server refuses a part, the writer fails and the upload is given up."""
    with open_place(seaweedfs.url) as region:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", region.door_url)
        through = Store(store.url, store.region)

        def write() -> None:
            with through.writer("calls/a.bin") as file:
                file.write(b"x" * (2 * PART_BYTES))
                region.refuse_parts()
                file.write(b"x" * (3 * PART_BYTES))

        with pytest.raises(StoreError, match=r"cannot write 'calls/a\.bin'"):
            write()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", seaweedfs.url)
    assert uploads(seaweedfs, store) == []
    assert store.files("calls") == []


def test_parts_are_few_enough(store: Store, seaweedfs: S3) -> None:
    """A file is uploaded in parts of a size of which the largest job needs fewer than S3 takes."""
    assert LARGEST_JOB / PART_BYTES < MAX_PARTS
    with store.writer("calls/a.bin") as file:
        for _ in range(70):
            file.write(b"x" * MB)
    etag = seaweedfs.client.head_object(Bucket=STORE_BUCKET, Key=key_of(store, "a.bin"))["ETag"].strip('"')
    assert etag.endswith("-5")  # 70 MB in parts of 16 MiB
    assert uploads(seaweedfs, store) == []


PROGRAM = """
import resource, sys
from bedrock_assets.storage.store import Store

store, n_mb, peaks = Store(sys.argv[1]), int(sys.argv[2]), []
with store.writer("warm.bin") as file:
    file.write(bytes(1000))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with store.writer("large.bin") as file:
    for _ in range(n_mb):
        file.write(bytes(1_000_000))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1000)
"""


def test_memory_does_not_grow_with_a_file(store: Store) -> None:
    """A file of 400 MB is written in little more memory than the five parts of 17 MB that are under way."""
    command = [sys.executable, "-c", PROGRAM, store.url, "400"]
    told = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ, timeout=120)
    assert store.size("large.bin") == 400 * MB
    store.delete(["large.bin"])
    assert int(told.stdout) < 120


def test_keys_of_others_do_not_matter(store: Store, seaweedfs: S3) -> None:
    """Keys that are no paths, or none of ours, are not listed, and those beside them are."""
    store.put("calls/a.json", b"{}")
    store.put("calls/sub/b.json", b"{}")
    assert len(store.files("calls")) == 2
    for name in ("new\nline", "a b", "x=1", "é", "100%25", "sub/tab\t"):
        seaweedfs.put(STORE_BUCKET, key_of(store, name), b"x")
    assert [(file.key, file.n_bytes) for file in store.files("calls")] == [("calls/a.json", 2), ("calls/sub/b.json", 2)]
    store.delete([file.key for file in store.files("calls")])
    assert store.files("calls") == []


def test_keys_that_lead_out_do_not_matter(moto: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of `..`, which SeaweedFS does not take and S3 does."""
    for name, value in moto.environment.items():
        monkeypatch.setenv(name, value)
    moto.create_bucket("foreign-bucket")
    store = Store("s3://foreign-bucket")
    for name in ("calls/../x", "calls/.", "calls//x", "calls/", "calls/ok"):
        moto.put("foreign-bucket", name, b"x")
    assert [file.key for file in store.files("calls")] == ["calls/ok"]
    moto.clear()


def test_a_copy_in_parts(store: Store, seaweedfs: S3) -> None:
    """A file that is too large for one copy is copied in parts, and only as it was seen."""
    content = os.urandom(17 * MB)
    store.put("calls/a.bin", content)
    assert store.s3.copy("calls/a.bin", "calls/b.bin", part_bytes=5 * 1024 * 1024)
    assert store.get("calls/b.bin") == content
    etag = seaweedfs.client.head_object(Bucket=STORE_BUCKET, Key=key_of(store, "b.bin"))["ETag"]
    assert etag.endswith('-4"')
    assert not store.s3.copy("calls/a.bin", "calls/c.bin", "0" * 32)
    assert not store.exists("calls/c.bin")
    assert uploads(seaweedfs, store) == []


def test_no_connection_is_left_open_for_each_store(store: Store) -> None:
    """A process that opens the store again and again, as the sensor does, does not run out of sockets."""
    store.put("calls/a.json", b"{}")
    with store.writer("calls/a.parquet") as file:
        write_frames([pl.DataFrame({"id": [1]})], file)
    process = psutil.Process()

    def use() -> None:
        opened = Store(store.url, store.region, store.endpoint_url)
        assert opened.get("calls/a.json") == b"{}"
        assert opened.files("calls")
        assert len(opened.read_parquet("calls/a.parquet")) == 1

    use()
    before = process.num_fds()
    for _ in range(30):
        use()
    assert process.num_fds() < before + 30
