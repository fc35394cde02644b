"""
Code versions: what Dagster compares to show that an asset was made by other code than the current YAML.

They are hashes of what decides an asset's content, so that an edit of a prompt shows and a comment in a YAML does not.
Nothing is launched or paid because of them: what is sent follows from the prompts themselves.
"""

import hashlib
import json

from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.workload import Workload

HEX_DIGITS = 16


def prompts_version(pipeline: Pipeline) -> str:
    """Of `prompt_shards`: the model, the templates, the parameters and the schema."""
    records, spec = pipeline.records, pipeline.spec
    templates = [[template.literals, template.columns] for template in records.templates]
    request = [records.shared_request, records.parameters, spec.model_invocation_type]
    request += [str(records.redactor)] if records.redactor else []
    return _version(spec.model_identity, templates, request)


def answers_version(workload: Workload, upstream: str | None) -> str:
    """
    Of `batch_outputs` and `joined_table`: the same, and the columns of the answer.

    Args:
        upstream: `prompts_version`; None for an inbox, whose files have their prompts.
    """
    schema = {name: str(dtype) for name, dtype in workload.schema.dtypes.items()} if workload.schema else {}
    columns = [workload.answer_columns, schema, workload.dimensions]
    spec = workload.spec
    return _version(upstream, spec.model_identity, spec.model_invocation_type, workload.family.name, columns)


def _version(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:HEX_DIGITS]
