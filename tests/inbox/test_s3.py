"""An inbox in S3: a real server process that speaks the protocol, over HTTP."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bedrock_assets.errors import StoreError
from bedrock_assets.inbox.files import list_files, look
from bedrock_assets.jobs.ledger import RequestState
from bedrock_assets.resources.store import StoreResource
from bedrock_assets.storage.store import Store
from tests.emulator.worlds import REGION, S3
from tests.labs.inbox import lines, open_lab

BUCKET, PREFIX = "calls-bucket", "some/prefix/to-process"


@pytest.fixture
def s3(moto: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """An S3 server with an empty bucket, and the settings by which it is found."""
    for name, value in moto.environment.items():
        monkeypatch.setenv(name, value)
    moto.create_bucket(BUCKET)
    yield moto
    moto.clear()


@pytest.fixture
def resource(s3: S3) -> StoreResource:
    """A store below a prefix of that bucket."""
    return StoreResource(url=f"s3://{BUCKET}/some/prefix", region_name=REGION, endpoint_url=s3.url)


def test_files_in_s3(tmp_path: Path, s3: S3, resource: StoreResource) -> None:
    """Files are taken, refused and answered as in a folder, beside keys that are no paths at all."""
    with open_lab(tmp_path, store=resource) as lab:
        s3.put(BUCKET, f"{PREFIX}/", b"")  # as the console makes a folder
        s3.put(BUCKET, f"{PREFIX}/good.jsonl", lines(5))
        s3.put(BUCKET, f"{PREFIX}/again.jsonl", lines(5))
        s3.put(BUCKET, f"{PREFIX}/bad.jsonl", b"nonsense")
        tricks = ["../out.jsonl", "/root.jsonl", "sub/inside.jsonl", "a b.jsonl", "%2e%2e%2f.jsonl"]
        for name in tricks:
            s3.put(BUCKET, f"{PREFIX}/{name}", lines(6))
        states = lab.finish()
        (key,) = states
        assert states == {key: RequestState.ANSWERED}
        assert set(lab.answers(key)["status"]) == {"ok"}
        refused = lab.rejections
        (other,) = {"good", "again"} - {key}
        assert "it is a duplicate" in refused[f"{other}.jsonl"]
        assert set(refused) == {f"{other}.jsonl", "bad.jsonl", "../", "/", "sub/", "a b.jsonl", "%2e%2e%2f.jsonl"}
        assert lab.n_refusals == 7
        left = ["", f"{other}.jsonl", "bad.jsonl", *tricks]
        assert s3.names(BUCKET, f"{PREFIX}/") == sorted(left)
        assert f"{key}.jsonl" in s3.names(BUCKET, f"some/prefix/processed/{key}/")
        lab.restart()
        lab.tick()
        lab.tick()
        assert (lab.n_refusals, len(lab.jobs())) == (7, 1)


def test_a_file_that_is_replaced_is_another_one(tmp_path: Path, s3: S3, resource: StoreResource) -> None:
    """A refused object with other content is looked at anew; the same content put again is not told again."""
    with open_lab(tmp_path, store=resource) as lab:
        for content in (b"nonsense", b"nonsense", b"other"):
            s3.put(BUCKET, f"{PREFIX}/first.jsonl", content)
            for _ in range(2):
                lab.tick()
        assert lab.n_refusals == 2
        s3.put(BUCKET, f"{PREFIX}/first.jsonl", lines(3))
        assert lab.finish() == {"first": RequestState.ANSWERED}


@pytest.mark.slow
def test_all_pages_are_read(s3: S3, resource: StoreResource) -> None:
    """A folder of more files than one answer of S3 has is listed whole; one file is looked at by its own name."""
    for i in range(1_050):
        s3.put(BUCKET, f"{PREFIX}/f{i:04d}.jsonl", b"x")
    s3.put(BUCKET, f"{PREFIX}/f0000.jsonl.bak", b"x")
    store = resource.open()
    inbox_files = list_files(store, "to-process")
    assert len({inbox_file.name for inbox_file in inbox_files}) == 1_051
    assert look(store, "to-process", "f0000.jsonl") == next(
        inbox_file for inbox_file in inbox_files if inbox_file.name == "f0000.jsonl"
    )
    assert look(store, "to-process", "f00.jsonl") is None


def test_a_bucket_that_is_not_there(s3: S3) -> None:
    """A folder that cannot be listed is told with the store's address."""
    with pytest.raises(StoreError, match="no-such-bucket"):
        list_files(Store("s3://no-such-bucket/x", REGION, s3.url), "to-process")
