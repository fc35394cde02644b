"""
What people may write in a defs.yaml and in the settings of jobs: pydantic models and dataclasses, checked when loaded.

Nothing here reads data or calls AWS.
"""

from bedrock_assets.config.answer_node import Node
from bedrock_assets.config.answer_schema import AnswerSchema, parse_schema
from bedrock_assets.config.inbox import InboxSpec
from bedrock_assets.config.job_settings import JobSettings, Vpc
from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.config.source import SourceSpec
from bedrock_assets.config.target import Target, bare_id
from bedrock_assets.config.task import EmbeddingTask, TaskSpec, TextTask
from bedrock_assets.config.workload import WorkloadSpec

__all__ = [
    "AnswerSchema",
    "EmbeddingTask",
    "InboxSpec",
    "JobSettings",
    "Node",
    "PipelineSpec",
    "SourceSpec",
    "Target",
    "TaskSpec",
    "TextTask",
    "Vpc",
    "WorkloadSpec",
    "bare_id",
    "parse_schema",
]
