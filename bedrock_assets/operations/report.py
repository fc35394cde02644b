"""Write a page about a pipeline's table."""

from bedrock_assets.errors import StoreConflict
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.report import page_of, report_of
from bedrock_assets.storage.publication import TRIES, Publication
from bedrock_assets.storage.store import Store


def report_page(store: Store, pipeline: Pipeline) -> str:
    """
    The page of a pipeline's table, as HTML; read again from the start if a new table is published meanwhile.

    Raises:
        ConfigError: There is no table.
        StoreConflict: A build is under way, or builds kept being published.
    """
    for _ in range(TRIES - 1):
        table = Publication.latest(store, pipeline.spec.name)
        try:
            return page_of(report_of(store, pipeline, table))
        except StoreConflict:
            if table.is_latest:
                raise
    return page_of(report_of(store, pipeline, Publication.latest(store, pipeline.spec.name)))
