"""The page about a table, written beside it whenever the table is built."""

from typing import Any

import dagster as dg

from bedrock_assets.assets.sample import never_fails
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.report import page_of, report_of
from bedrock_assets.storage.keys import report_key
from bedrock_assets.storage.manifests import TableManifest
from bedrock_assets.storage.publication import Publication
from bedrock_assets.storage.store import Store


@never_fails
def report_metadata(pipeline: Pipeline, store: Store, manifest: TableManifest) -> dict[str, Any]:
    """Write the page of a table that has just been published; metadata of `joined_table` that says where it is."""
    if not pipeline.spec.report:
        return {}
    page = page_of(report_of(store, pipeline, Publication(store, pipeline.spec.name, manifest)))
    key = report_key(pipeline.spec.name)
    store.put(key, page.encode())
    return {"report": dg.MetadataValue.path(store.path(key))}
