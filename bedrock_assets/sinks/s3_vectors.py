"""
The embeddings in an index of Amazon S3 Vectors: the key of a vector is the record id.

The service has no transaction: a reader may see some vectors of two builds while one is sent. Each call puts or deletes
by key, so what a stopped run leaves is finished by the next.
"""

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import polars as pl
from typing_extensions import override

from bedrock_assets.audit import Effect, announced
from bedrock_assets.columns import column
from bedrock_assets.config.sinks import S3VectorsSpec
from bedrock_assets.errors import BedrockAssetsError, ConfigError, DataError, StoreError, first_line
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.sinks.base import Sent, Target, named, send, turn
from bedrock_assets.sinks.changes import Changes
from bedrock_assets.sinks.rows import MARK, SinkRows, is_vector
from bedrock_assets.storage.manifests import TableManifest
from bedrock_assets.storage.publish_lock import PublishLock
from bedrock_assets.storage.store import Store

WHERE = "sinks.s3_vectors"
MAX_VECTORS = 500
"""In a request to put or delete."""
MAX_REQUEST_BYTES = 16 * 1024 * 1024
"""The service takes 20 MiB."""
MAX_DIMENSIONS = 4096
MAX_KEY_BYTES = 1024
MAX_FILTERABLE_BYTES = 2048
MAX_METADATA_BYTES = 40 * 1024
"""Source of these: "Limitations and restrictions" in the user guide of S3 Vectors, 2026-11, and boto3's model."""
_FLOAT_BYTES = 22
"""The longest that a number of a vector is as JSON."""


def publish_s3_vectors(store: Store, pipeline: Pipeline, table: TableManifest) -> Sent:
    """
    Make the index under `sinks.s3_vectors` equal to the vectors of the joined table. Rows without one are not in it.

    Raises:
        ConfigError: The table has no vectors, or none in the named column.
        DataError: An id or metadata are longer than the service takes.
        StoreConflict: Another run of this sink has begun meanwhile.
        StoreError: The service refuses; what a stopped run leaves is mended by the next.
    """
    spec = named(pipeline.spec.sinks.s3_vectors, WHERE)
    vector = _vector_column(SinkRows.of(store, pipeline, table), spec.vector)
    rows = SinkRows.of(store, pipeline, table, (vector, *spec.metadata), required=vector)
    lock = turn(store, pipeline, "s3_vectors")
    with _explained(spec):
        client = store.open_session().client("s3vectors", region_name=spec.region or store.region)
        return send(VectorIndex(client, spec, rows, vector, lock), rows)


def _vector_column(rows: SinkRows, wanted: str | None) -> str:
    vectors = [name for name, dtype in rows.schema.items() if is_vector(dtype)]
    name = wanted or rows.pipeline.answer_columns.get("embedding")
    if name is None or name not in vectors:
        told = f"column {name!r} holds no vectors" if name else "the table has no embedding"
        raise ConfigError(
            f"{WHERE}: {told}; set `vector` to a column that does: {', '.join(vectors) or 'there is none'}"
        )
    return name


@contextmanager
def _explained(spec: S3VectorsSpec) -> Generator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except BedrockAssetsError:
        raise
    except (BotoCoreError, ClientError) as error:
        raise StoreError(f"{WHERE}: index {spec.index} of bucket {spec.bucket}: {first_line(error)}") from error


class VectorIndex(Target):
    """An index in a vector bucket; made if it is not there."""

    def __init__(self, client: Any, spec: S3VectorsSpec, rows: SinkRows, vector: str, lock: PublishLock) -> None:
        self._client, self._spec, self._rows, self._vector, self._lock = client, spec, rows, vector, lock
        self._place = {"vectorBucketName": spec.bucket, "indexName": spec.index}
        self._metadata = [name for name in spec.metadata if name not in rows.void]
        dtype = rows.schema[vector]
        self._size = dtype.size if isinstance(dtype, pl.Array) else 0
        if self._size > MAX_DIMENSIONS:
            raise ConfigError(f"{WHERE}: vectors have {self._size} dimensions, and the service takes {MAX_DIMENSIONS}")
        self._find_or_create()

    @property
    @override
    def address(self) -> str:
        return f"s3vectors://{self._spec.bucket}/{self._spec.index}"

    def _find_or_create(self) -> None:
        from botocore.exceptions import ClientError

        try:
            index = self._client.get_index(**self._place)["index"]
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != "NotFoundException":
                raise
            with announced(Effect.WRITE, self.address):
                self._client.create_index(
                    **self._place,
                    dataType="float32",
                    dimension=self._size,
                    distanceMetric=self._spec.distance,
                    metadataConfiguration={"nonFilterableMetadataKeys": [MARK, *self._spec.not_filterable]},
                )
            return
        if index["dimension"] != self._size:
            raise StoreError(
                f"{WHERE}: index {self._spec.index} has vectors of {index['dimension']} dimensions, and the table of "
                f"{self._size}; write to another index. Nothing was written"
            )

    @override
    def marks(self) -> Iterator[pl.DataFrame]:
        pages = self._client.get_paginator("list_vectors").paginate(**self._place, returnMetadata=True)
        for page in pages:
            vectors = page["vectors"]
            yield pl.DataFrame(
                {"id": [one["key"] for one in vectors], MARK: [one.get("metadata", {}).get(MARK) for one in vectors]},
                schema={"id": pl.String, MARK: pl.String},
            )

    @override
    def write(self, changes: Changes) -> None:
        for ids in changes.gone():
            for some in ids.to_frame("id").iter_slices(MAX_VECTORS):
                self._lock.hold()
                with announced(Effect.DELETE, self.address):
                    self._client.delete_vectors(**self._place, keys=some["id"].to_list())
        for rows in changes.frames():
            for vectors in self._requests(rows):
                self._lock.hold()
                with announced(Effect.WRITE, self.address):
                    self._client.put_vectors(**self._place, vectors=vectors)

    def _requests(self, rows: pl.DataFrame) -> Iterator[list[dict[str, Any]]]:
        """The vectors of some rows, as many in a request as the service takes."""
        request: list[dict[str, Any]] = []
        n_bytes = 0
        for row in rows.select(self._shown(rows)).iter_rows(named=True):
            key, vector = row[self._rows.key], row[self._vector]
            metadata = {name: row[name] for name in (*self._metadata, MARK) if row[name] is not None}
            size = self._size * _FLOAT_BYTES + self._checked(key, metadata)
            if request and (len(request) == MAX_VECTORS or n_bytes + size > MAX_REQUEST_BYTES):
                yield request
                request, n_bytes = [], 0
            request.append({"key": key, "data": {"float32": vector}, "metadata": metadata})
            n_bytes += size
        if request:
            yield request

    def _shown(self, rows: pl.DataFrame) -> list[pl.Expr]:
        metadata = [_as_metadata(name, rows.schema[name]) for name in self._metadata]
        return [column(self._rows.key), column(self._vector), *metadata, column(MARK)]

    def _checked(self, key: str, metadata: dict[str, Any]) -> int:
        """Bytes of the key and the metadata."""
        if len(key.encode()) > MAX_KEY_BYTES:
            raise DataError(f"{WHERE}: record id {key[:40]!r}... has more than the {MAX_KEY_BYTES} bytes of a key")
        sizes = {name: len(json.dumps({name: value}, ensure_ascii=False).encode()) for name, value in metadata.items()}
        filterable = sum(size for name, size in sizes.items() if name not in {MARK, *self._spec.not_filterable})
        if filterable > MAX_FILTERABLE_BYTES or sum(sizes.values()) > MAX_METADATA_BYTES:
            longest = max((name for name in sizes if name != MARK), key=sizes.__getitem__)
            raise DataError(
                f"{WHERE}: the metadata of record {key!r} have {sum(sizes.values()):,} bytes, most of them column "
                f"{longest!r}; the service takes {MAX_FILTERABLE_BYTES:,} by which queries filter, and "
                f"{MAX_METADATA_BYTES:,} in all. Name it under `not_filterable`, for which the index is made anew, or "
                "leave it out"
            )
        return sum(sizes.values()) + len(key.encode())


def _as_metadata(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column as a text, a number, a truth, or a list of texts."""
    value = column(name)
    if isinstance(dtype, pl.Struct):
        return value.struct.json_encode()
    if isinstance(dtype, (pl.List, pl.Array)):
        listed = value.arr.to_list() if isinstance(dtype, pl.Array) else value
        return listed.list.eval(pl.element().drop_nulls()).cast(pl.List(pl.String))
    return value if dtype.is_integer() or dtype.is_float() or dtype == pl.Boolean else value.cast(pl.String)
