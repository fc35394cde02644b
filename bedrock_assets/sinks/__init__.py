"""
Sinks: places that keep the joined table a second time, each an asset of its own after it.

A new sink is a file here, a key of `SinksSpec`, and a line in `SINKS`.
"""

from collections.abc import Mapping
from typing import Any

from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.sinks.base import Sent, Sink
from bedrock_assets.sinks.delta import publish_delta
from bedrock_assets.sinks.hub import push_table
from bedrock_assets.sinks.iceberg import publish_iceberg
from bedrock_assets.sinks.lance import publish_lance
from bedrock_assets.sinks.s3_vectors import publish_s3_vectors
from bedrock_assets.sinks.sql import publish_sql

__all__ = ["SINKS", "Sent", "Sink", "sinks_of"]

SINKS: dict[str, Sink] = {
    "delta": Sink(
        "delta_table",
        "The joined table as a Delta table; each build is a version.",
        frozenset({"delta"}),
        publish_delta,
    ),
    "hub": Sink(
        "hub_dataset",
        "The joined table as a dataset of the Hugging Face hub. Nobody but you materializes it: what it publishes may "
        "be read by others.",
        frozenset({"huggingface"}),
        push_table,
        is_automatic=False,
    ),
    "sql": Sink(
        "sql_table",
        "The joined table in a database, merged by record id in one transaction.",
        frozenset({"sql"}),
        publish_sql,
    ),
    "iceberg": Sink(
        "iceberg_table",
        "The joined table in an Iceberg catalog; each change is one commit.",
        frozenset({"iceberg"}),
        publish_iceberg,
    ),
    "lancedb": Sink(
        "lance_table",
        "The joined table in LanceDB, for search by vectors.",
        frozenset({"lancedb"}),
        publish_lance,
    ),
    "s3_vectors": Sink(
        "s3_vectors",
        "The embeddings in an index of Amazon S3 Vectors; the key of a vector is its record id.",
        frozenset({"s3"}),
        publish_s3_vectors,
    ),
}
"""By key: of `sinks:`, or of the pipeline."""


def sinks_of(spec: PipelineSpec) -> list[Sink]:
    """The sinks that a pipeline names."""
    named: Mapping[str, Any] = {"delta": spec.delta, "hub": spec.hub, **dict(spec.sinks)}
    return [sink for key, sink in SINKS.items() if named[key]]
