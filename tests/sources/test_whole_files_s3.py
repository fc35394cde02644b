"""Whole files of a bucket as rows, on a real S3 server: the same as those of a folder."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from bedrock_assets.config.source import SourceSpec
from bedrock_assets.errors import ConfigError
from bedrock_assets.sources import open_source
from bedrock_assets.storage.store import Store

NAMES = ("a.txt", "b c&+.txt", "may/c.txt", "may/june/ü.txt", ".hidden.txt", "may/.cache/d.txt", "may/e[1].txt")


def read(files: str, folder: Path | None = None) -> pl.DataFrame:
    """All rows."""
    return pl.concat(open_source(SourceSpec(files=files), None, folder or Path()).batches())


@pytest.fixture
def bucket(s3_store: Store) -> tuple[Store, str]:
    """The same files in a folder of a bucket, whose neighbours have like names."""
    prefix = f"{secrets.token_hex(4)}/calls"
    keys = [f"{prefix}/{name}" for name in NAMES] + [f"{prefix}-others/x.txt", f"{prefix}.txt"]
    for key in keys:
        s3_store.s3.client.put_object(Bucket=s3_store.s3.bucket, Key=key, Body=f"text of {key.rpartition('/')[2]}")
    return s3_store, f"s3://{s3_store.s3.bucket}/{prefix}"


def test_the_same_as_a_folder(bucket: tuple[Store, str], tmp_path: Path) -> None:
    """Each pattern gives the rows that it gives of local files."""
    _, url = bucket
    for name in NAMES:
        (tmp_path / "calls" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "calls" / name).write_text(f"text of {name.rpartition('/')[2]}")
    for pattern in (
        "",
        "/*.txt",
        "/**/*.txt",
        "/**",
        "/*/*.txt",
        "/may/?.txt",
        "/[ab]*.txt",
        "/may/[!c]*.txt",
        "/a.txt",
    ):
        assert read(url + pattern).rows() == read(f"calls{pattern}", tmp_path).rows(), pattern
    assert read(f"{url}/").rows() == read(url).rows()


def test_what_cannot_be_read(bucket: tuple[Store, str]) -> None:
    """Errors name the URL and what is wrong."""
    store, url = bucket
    store.s3.client.put_object(Bucket=store.s3.bucket, Key=f"{url.split('/', 3)[3]}/l.txt", Body="für".encode("latin1"))
    for files, told in {
        f"{url}/none/*.txt": "matches no object of bucket",
        f"{url}/l.txt": r"l\.txt: byte 0xfc is not UTF-8",
        f"{url}/[z-a].txt": "is no pattern",
        "s3://no-such-bucket-of-ours/x.txt": "the bucket cannot be listed",
    }.items():
        with pytest.raises(ConfigError, match=told):
            read(files)
    source = open_source(SourceSpec(files=f"{url}/a.txt"))
    assert source.n_rows() == 1
    store.s3.client.delete_object(Bucket=store.s3.bucket, Key=f"{url.split('/', 3)[3]}/a.txt")
    with pytest.raises(ConfigError, match=r"a\.txt cannot be read"):
        list(source.batches())


def test_many(s3_store: Store) -> None:
    """More objects than a page of a listing has, in order."""
    folder = secrets.token_hex(4)
    with ThreadPoolExecutor(16) as pool:
        for i in range(1_100):
            key = f"{folder}/call-{i:04d}.txt"
            pool.submit(s3_store.s3.client.put_object, Bucket=s3_store.s3.bucket, Key=key, Body=f"call {i}")
    rows = read(f"s3://{s3_store.s3.bucket}/{folder}/*.txt")
    assert rows["text"].to_list() == [f"call {i}" for i in range(1_100)]
    assert rows["name"][0] == "call-0000.txt"
