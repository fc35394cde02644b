"""Files that are written under a KMS key: the server is told of it with each, in one piece or in many."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import boto3
import polars as pl
import pytest

from bedrock_assets.aws.model_invocation_jobs import Bedrock
from bedrock_assets.errors import ConfigError
from bedrock_assets.operations.probes import CheckResult, Probe, run_probes
from bedrock_assets.resources.store import StoreResource
from bedrock_assets.sinks.delta import publish_delta
from bedrock_assets.storage.parquet import write_frames
from bedrock_assets.storage.store import Store
from bedrock_assets.table.join import join_table
from tests.emulator.worlds import REGION, S3
from tests.labs.identity import open_place
from tests.labs.stages import MakePipeline, Stages, texts

BUCKET = "encrypted-bucket"
MB = 1_000_000


@pytest.fixture
def server(moto: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """A server that keeps what it is told of encryption, with an empty bucket."""
    for name, value in moto.environment.items():
        monkeypatch.setenv(name, value)
    moto.create_bucket(BUCKET)
    yield moto
    moto.clear()


def made_key(server: S3) -> str:
    """ARN of a new key."""
    kms: Any = boto3.Session().client("kms", endpoint_url=server.url, region_name=REGION)
    return kms.create_key()["KeyMetadata"]["Arn"]


def keys_of(server: S3) -> dict[str, str | None]:
    """By the key of each file, the KMS key under which it was written."""
    found: dict[str, str | None] = {}
    for name in server.names(BUCKET, ""):
        head = server.client.head_object(Bucket=BUCKET, Key=name)
        found[name] = head.get("SSEKMSKeyId")
        assert (head.get("ServerSideEncryption") == "aws:kms") == (found[name] is not None)
    return found


def write(store: Store) -> None:
    """Write files in all ways: small, streamed, in several parts, copied, by polars."""
    store.put("calls/small", b"x")
    with store.writer("calls/streamed") as file:
        file.write(b"x" * 10)
    with store.writer("calls/parts") as file:
        for _ in range(40):
            file.write(b"x" * MB)
    with store.writer("calls/table.parquet") as file:
        write_frames([pl.DataFrame({"id": [1]})], file)
    store.put("calls/aside", b"x")
    store.move("calls/aside", "calls/moved")


def test_all_that_is_written_is_under_the_key(server: S3) -> None:
    """The server records the key with every file, also of those that came in parts or are copies."""
    key = made_key(server)
    store = StoreResource(url=f"s3://{BUCKET}/pre", region_name=REGION, endpoint_url=server.url, kms_key_arn=key).open()
    write(store)
    assert keys_of(server) == {
        f"pre/calls/{name}": key for name in ("small", "streamed", "parts", "table.parquet", "moved")
    }
    assert store.read_parquet("calls/table.parquet")["id"].to_list() == [1]


def test_a_delta_table_is_under_the_key(server: S3, make_pipeline: MakePipeline) -> None:
    """A table that another library writes beside the store is under the key as well, and found where the store is."""
    key, uri = made_key(server), f"s3://{BUCKET}/delta/calls"
    store = Store(f"s3://{BUCKET}/pre", REGION, server.url, key)
    stages = Stages.of(make_pipeline(texts(4), delta=uri), store)
    stages.answer_all()
    table = join_table(store, stages.pipeline, stages.raw)
    first = publish_delta(store, stages.pipeline, table)
    assert (first.more, first.n_rows) == ({"version": 0}, 4)
    assert publish_delta(store, stages.pipeline, table).more == first.more
    assert {name.split("/")[0] for name in keys_of(server)} == {"delta", "pre"}
    assert set(keys_of(server).values()) == {key}


def test_without_a_key_the_bucket_decides(server: S3) -> None:
    """No header is sent where no key is set."""
    write(Store(f"s3://{BUCKET}/pre", REGION, server.url))
    assert set(keys_of(server).values()) == {None}


def examined(store: Store, client: Any) -> dict[str, CheckResult]:
    """What doctor finds of the store."""
    bedrock = Bedrock(client("bedrock"), "arn:aws:iam::123456789012:role/x")
    patient = Probe(store, bedrock, REGION, client, on_aws=False)
    return {finding.check: finding for finding in islice(run_probes(patient), 5)}


def test_doctor_looks_at_key_and_owner(server: S3) -> None:
    """A file is written under the key, and the bucket is the account's; one of another account is told."""

    with open_place(server.url) as region:  # whose door looks at the owner, as S3 does

        def client(service: str) -> Any:
            return boto3.Session().client(service, endpoint_url=region.door_url, region_name=REGION)

        store = Store(f"s3://{BUCKET}", REGION, server.url, made_key(server), "123456789012")
        found = examined(store, client)
        assert (found["encryption"].status, found["bucket Region"].status) == ("ok", "ok")
        found = examined(replace(store, bucket_owner="999999999999"), client)
        assert "check that account 999999999999 owns it (BEDROCK_ASSETS_BUCKET_OWNER)" in found["bucket Region"].fix


def test_a_key_that_is_none(server: S3) -> None:
    """It is told before anything is written."""
    with pytest.raises(ConfigError, match="is not an ARN such as"):
        Store(f"s3://{BUCKET}/pre", REGION, server.url, kms_key_arn="mine").put("a", b"x")
