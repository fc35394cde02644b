"""This project's own way through each stage, as its commands and assets do it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.operations.format_files import format_files, plain_pipeline
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.storage.store import Store
from tests.benchmarks.setting import EMBEDDING, HAIKU, TEXT, TITAN, input_of, spec_of

JOB = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/aaaaaaaaaaaa"


def format(folder: Path) -> None:  # noqa: A001 - named after its stage
    """Input to JSONL shards, as `bedrock-assets format` does it."""
    format_files(plain_pipeline(input_of(folder), HAIKU, TEXT, "id"), folder / "shards-ours")


def parse(folder: Path) -> None:
    """Text outputs to the joined table, as `bedrock-assets parse` does it."""
    _parse(folder, HAIKU, TEXT)


def embed(folder: Path) -> None:
    """Vectors to the joined table."""
    _parse(folder, TITAN, EMBEDDING)


def _parse(folder: Path, model: str, task: dict[str, Any]) -> None:
    from bedrock_assets.operations.parse_files import parse_files

    pipeline = plain_pipeline(input_of(folder), model, task, "id")
    parse_files(pipeline, folder / "shards", folder / "outputs", folder / "ours.parquet")


def join(folder: Path) -> None:
    """Raw parts and answers to the table, as asset `joined_table` does it."""
    join_in_store(folder, store_of(folder))


def ingest_parquet(folder: Path) -> None:
    """As asset `raw_dataset` does it: with ids, hashes, counts and a plan."""
    _ingest(folder, {"path": input_of(folder), "id_column": "id"})


def ingest_csv(folder: Path) -> None:
    """The same from CSV."""
    _ingest(folder, {"path": str(folder / "input.csv"), "id_column": "id"})


def ingest_datasets(folder: Path) -> None:
    """The same from a dataset folder that `datasets` streams."""
    _ingest(folder, {"huggingface": {"id": str(folder / "dataset")}, "id_column": "id"})


def _ingest(folder: Path, source: dict[str, Any]) -> None:
    from bedrock_assets.dataset.ingest import ingest

    ingest(Pipeline(PipelineSpec.model_validate(spec_of(source)), folder), Store(str(folder / "ingested")))


def store_of(folder: Path) -> Store:
    """The local store in which all stages have been run once."""
    return Store(str(folder / "store"))


def pipeline_of(folder: Path, *, embed: bool = False) -> Pipeline:
    """The pipeline whose store that is."""
    source = {"path": input_of(folder), "id_column": "id"}
    return Pipeline(PipelineSpec.model_validate(spec_of(source, embed=embed)), folder)


def raw_of(store: Store) -> Any:
    """The manifest of the ingested rows."""
    from bedrock_assets.storage.keys import raw_manifest_key
    from bedrock_assets.storage.manifests import RawManifest

    return store.read_model(raw_manifest_key("calls"), RawManifest)


def format_in_store(folder: Path, store: Store, *, embed: bool = False) -> Sequence[Any]:
    """Raw parts to JSONL, as asset `prompt_shards` does it; the shards' manifests."""
    from bedrock_assets.shards.format import format_shard

    raw, pipeline = raw_of(store), pipeline_of(folder, embed=embed)
    return [format_shard(pipeline, store, raw, shard) for shard in raw.shards]


def collect_in_store(folder: Path, store: Store, *, embed: bool = False) -> None:
    """Outputs to typed Parquet, as the collect runs of asset `batch_outputs` do it."""
    from bedrock_assets.outputs.collect import Collector
    from bedrock_assets.shards.format import current_shard

    pipeline = pipeline_of(folder, embed=embed)
    for shard in raw_of(store).shards:
        manifest = current_shard(store, "calls", shard.key)
        Collector(pipeline.workload, store, manifest).publish(
            Collector(pipeline.workload, store, manifest).collect([JOB], "job ended as Completed")
        )


def join_in_store(folder: Path, store: Store) -> None:
    """Raw parts and answers to the table."""
    from bedrock_assets.table.join import join_table

    join_table(store, pipeline_of(folder), raw_of(store))
