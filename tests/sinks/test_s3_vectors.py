"""Embeddings in S3 Vectors, as moto serves it: vectors of answered rows, metadata, and the service's limits."""

from typing import Any

import boto3
import polars as pl
import pytest

from bedrock_assets.errors import ConfigError, DataError, StoreError
from bedrock_assets.outputs.collect import Collector
from bedrock_assets.sinks import s3_vectors
from bedrock_assets.sinks.base import Sent
from bedrock_assets.sinks.rows import MARK
from bedrock_assets.sinks.s3_vectors import publish_s3_vectors
from bedrock_assets.storage.store import Store
from bedrock_assets.table.join import join_table
from tests.emulator.worlds import REGION, S3
from tests.labs.stages import TITAN, MakePipeline, Stages, jsonl, texts

BUCKET = "vectors-of-calls"
DIMENSIONS = 256


@pytest.fixture
def client(moto: S3, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of moto's S3 Vectors with an empty bucket; the environment names the server."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3VECTORS", moto.url)
    for name, value in moto.environment.items():
        monkeypatch.setenv(name, value)
    made = boto3.client("s3vectors", region_name=REGION)
    made.create_vector_bucket(vectorBucketName=BUCKET)
    yield made
    for index in made.list_indexes(vectorBucketName=BUCKET)["indexes"]:
        made.delete_index(vectorBucketName=BUCKET, indexName=index["indexName"])
    made.delete_vector_bucket(vectorBucketName=BUCKET)


def publish(make_pipeline: MakePipeline, store: Store, frame: pl.DataFrame, n_answered: int, **more: Any) -> Sent:
    """Embed the first rows of a frame, and write the vectors; `text` and `n` are metadata."""
    settings = {"bucket": BUCKET, "index": "calls", "region": REGION, "metadata": ["text", "n"], **more}
    task = {"embedding": {"column": "text", "dimensions": DIMENSIONS}}
    pipeline = make_pipeline(frame, id_column="id", model=TITAN, task=task, sinks={"s3_vectors": settings})
    stages = Stages.of(pipeline, store)
    answers = [
        {"recordId": record, "modelOutput": {"embedding": [index + 0.25] * DIMENSIONS, "inputTextTokenCount": 3}}
        for index, record in enumerate(stages.ids()[:n_answered])
    ]
    stages.write(jsonl(answers))
    Collector(pipeline.workload, store, stages.shards[0]).publish(stages.collect())
    return publish_s3_vectors(store, pipeline, join_table(store, pipeline, stages.raw))


def numbered(n_rows: int) -> pl.DataFrame:
    """Texts with a number, which a third of them lacks."""
    return texts(n_rows).with_columns(n=pl.when(pl.int_range(pl.len()) % 3 > 0).then(pl.int_range(pl.len())))


def stored(client: Any) -> dict[str, dict[str, Any]]:
    """All vectors, by key."""
    pages = client.get_paginator("list_vectors").paginate(
        vectorBucketName=BUCKET, indexName="calls", returnData=True, returnMetadata=True
    )
    return {vector["key"]: vector for page in pages for vector in page["vectors"]}


def test_vectors(client: Any, make_pipeline: MakePipeline, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only answered rows have a vector; a repeat sends nothing; a change sends its row, a removal deletes one."""
    monkeypatch.setattr(s3_vectors, "MAX_VECTORS", 2)
    sent = publish(make_pipeline, store, numbered(7), 5)
    assert (sent.n_rows, sent.n_written, sent.n_deleted) == (5, 5, 0)
    found = stored(client)
    assert sorted(found) == [f"c{i}" for i in range(5)]
    assert found["c1"]["data"]["float32"] == [1.25] * DIMENSIONS
    assert {**found["c1"]["metadata"], MARK: ""} == {"text": "call 1", "n": 1, MARK: ""}
    assert set(found["c0"]["metadata"]) == {"text", MARK}

    sent = publish(make_pipeline, store, numbered(7), 5)
    assert (sent.n_written, sent.n_deleted, sent.n_unchanged) == (0, 0, 5)
    changed = numbered(7).filter(pl.col("id") != "c6").with_columns(text=pl.col("text").replace("call 1", "call one"))
    sent = publish(make_pipeline, store, changed, 4)
    assert (sent.n_written, sent.n_deleted, sent.n_unchanged) == (1, 1, 3)
    found = stored(client)
    assert sorted(found) == [f"c{i}" for i in range(4)]
    assert found["c1"]["metadata"]["text"] == "call one"


def test_what_is_refused(client: Any, make_pipeline: MakePipeline, store: Store) -> None:
    """No bucket, another length, metadata that are too long, and columns that hold no vectors: one error each."""
    with pytest.raises(StoreError, match=r"index calls of bucket no-such-bucket: .*NotFound"):
        publish(make_pipeline, store, numbered(3), 3, bucket="no-such-bucket")
    for vector, told in (("text", "column 'text' holds no vectors; .*embedding"), ("none", "'none' holds no vectors")):
        with pytest.raises(ConfigError, match=told):
            publish(make_pipeline, store, numbered(3), 3, vector=vector)
    with pytest.raises(ConfigError, match="column 'none' is not in the table"):
        publish(make_pipeline, store, numbered(3), 3, metadata=["none"])
    long = numbered(3).with_columns(text=pl.col("text") + "x" * 2100)
    with pytest.raises(DataError, match=r"record 'c0' have .* most of them column 'text'"):
        publish(make_pipeline, store, long, 3)
    assert stored(client) == {}
    assert publish(make_pipeline, store, long, 3, not_filterable=["text"]).n_written == 3
    client.create_index(
        vectorBucketName=BUCKET, indexName="short", dataType="float32", dimension=2, distanceMetric="cosine"
    )
    with pytest.raises(StoreError, match="has vectors of 2 dimensions, and the table of 256"):
        publish(make_pipeline, store, numbered(3), 3, index="short")
