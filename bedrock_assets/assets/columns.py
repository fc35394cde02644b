"""What Dagster shows of columns: their types and descriptions, and from which columns they are made."""

from collections.abc import Iterable, Mapping

import dagster as dg

from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.config.task import POSITION
from bedrock_assets.config.workload import WorkloadSpec
from bedrock_assets.pipeline.ids import GIVEN_ID
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.workload import CIRCUMSTANCES, Workload

DESCRIPTIONS = {
    "status": "What became of the row: `ok`, `error` or `missing`.",
    "response": "The model's answer as text.",
    "embedding": "The vector of the text.",
    "stop_reason": "Why the model stopped, in its own words.",
    "input_tokens": "Tokens of the prompt, as the model counted them.",
    "output_tokens": "Tokens of the answer.",
    "error_code": "Kind of the error, if the row has no answer.",
    "error_message": "What went wrong.",
    "model_id": "The model that answered.",
    "answer_source": "How the answer came: `batch`, `on_demand`, `cache` or `duplicate`.",
    "job_arn": "The batch inference job that answered.",
    "attempt": "How many times the shard had been sent.",
}
"""By the column's own name, without prefix."""
RECORD_ID = "Unique id of the row, the same in all assets of the pipeline."
GIVEN = "The `recordId` in the file, which is absent or repeated in some records; those have a `record_id` of ours."
INPUT = "Column of the input, unchanged."


def column_schema(workload: Workload, columns: Mapping[str, str]) -> dg.TableSchema:
    """
    Types and descriptions of a table's columns.

    Args:
        columns: Names and polars dtypes, as text.
    """
    described = _descriptions(workload)
    return dg.TableSchema(
        [dg.TableColumn(name, dtype, description=described.get(name, INPUT)) for name, dtype in columns.items()]
    )


def _descriptions(workload: Workload) -> dict[str, str]:
    fields = workload.schema.fields if workload.schema else {}
    named = DESCRIPTIONS | {
        name: node.description or f"Field `{name}` of the structured answer." for name, node in fields.items()
    }
    answers = {column: named[name] for name, column in workload.answer_columns.items()}
    made = _made(workload.spec) if isinstance(workload.spec, PipelineSpec) else {GIVEN_ID: GIVEN}
    return made | answers | {workload.record_id: RECORD_ID}


def _made(spec: PipelineSpec) -> dict[str, str]:
    """Columns that reading the source adds or changes."""
    source = spec.source
    made: dict[str, str] = {POSITION: "Which of the two texts comes first."} if spec.task.compare else {}
    if source.expand:
        made[source.expand.column] = "The value for which the row was repeated."
    if source.group_by:
        made[source.group_by.into] = "The texts of the group's rows, joined."
    return made


def raw_lineage(pipeline: Pipeline, columns: Iterable[str], upstream: dg.AssetKey | None) -> dict[str, object]:
    """
    Metadata of `raw_dataset`: each column that is not made here is from the upstream table.

    Args:
        upstream: Key of the asset that is read; without it nothing is known.
    """
    if upstream is None:
        return {}
    kept = [name for name in columns if name not in {*_made(pipeline.spec), pipeline.record_id}]
    return _metadata({name: [dg.TableColumnDep(upstream, name)] for name in kept})


def answers_lineage(workload: Workload) -> dict[str, object]:
    """Metadata of `batch_outputs`: the answer is made from the columns that the prompt names."""
    if workload.records is None:
        return {}
    raw = _key(workload.spec, "raw_dataset")
    prompt = [dg.TableColumnDep(raw, name) for name in workload.records.columns]
    made = {column: prompt for name, column in workload.answer_columns.items() if name not in CIRCUMSTANCES}
    return _metadata({**made, workload.record_id: [dg.TableColumnDep(raw, workload.record_id)]})


def table_lineage(workload: Workload, columns: Iterable[str]) -> dict[str, object]:
    """Metadata of `joined_table`: the input's columns are those of the dataset, the answer's those of the outputs."""
    raw, outputs = _key(workload.spec, "raw_dataset"), _key(workload.spec, "batch_outputs")
    answers = {*workload.answer_columns.values()}
    return _metadata({name: [dg.TableColumnDep(outputs if name in answers else raw, name)] for name in columns})


def _key(spec: WorkloadSpec, asset: str) -> dg.AssetKey:
    return dg.AssetKey(spec.key_of(asset))


def _metadata(deps: Mapping[str, list[dg.TableColumnDep]]) -> dict[str, object]:
    return {"dagster/column_lineage": dg.TableColumnLineage(deps)}
