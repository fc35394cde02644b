"""A pipeline ready to work: the spec with its family and templates resolved and checked."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from bedrock_assets.errors import ColumnClash, PromptError
from bedrock_assets.families import Family, Prompt, Task, family_of, task_of
from bedrock_assets.ids import RECORD_ID, WIRE_ID, sha256, wire_id
from bedrock_assets.sources import Source, open_source
from bedrock_assets.spec import PipelineSpec, TextTask
from bedrock_assets.templates import Template, as_text, load_template, parse_template

ANSWER_COLUMNS = (
    "status",
    "response",
    "embedding",
    "stop_reason",
    "input_tokens",
    "output_tokens",
    "error_code",
    "error_message",
    "model_id",
    "lane",
    "job_arn",
    "attempt",
)
"""Columns beside the record id, in order; a text pipeline has `response`, an embedding pipeline `embedding`."""

LINE, ERROR_CODE, ERROR_MESSAGE = MADE = ("__line", "__error_code", "__error_message")
KEY = "__key"
"""Working columns, named so that no input column is in their way."""
_KEY_HEX_DIGITS = 32
_PROBE = pl.DataFrame({"text": ["x"], "system": ["y"]})


@dataclass(frozen=True)
class Pipeline:
    """
    A spec and everything it names.

    Raises:
        ConfigError: The model, its family, the task or a template is wrong; nothing was read or written.
    """

    spec: PipelineSpec
    folder: Path
    """Where `<prompt_id>.txt` is looked for first."""

    def __post_init__(self) -> None:
        columns = self.source.columns()
        _ = self.family, self.prompt, self.system
        if columns is not None:
            self.check_columns(columns)

    @cached_property
    def family(self) -> Family:
        """How requests are built and answers read."""
        return family_of(self.spec)

    @cached_property
    def source(self) -> Source:
        """Where the rows come from."""
        return open_source(self.spec.source)

    @cached_property
    def task(self) -> Task:
        """What is asked."""
        return task_of(self.spec)

    @cached_property
    def prompt(self) -> Template | None:
        """The user prompt of a text task."""
        task = self.task
        if not isinstance(task, TextTask):
            return None
        if task.prompt_id is not None:
            return load_template(task.prompt_id, self.folder)
        return parse_template(task.prompt or "", "task.text.prompt")

    @cached_property
    def system(self) -> Template | None:
        """The system prompt, if any."""
        task = self.task
        if not isinstance(task, TextTask) or task.system is None:
            return None
        return parse_template(task.system, "task.text.system")

    @property
    def record_id(self) -> str:
        """Name of the record id column."""
        return self.spec.output_prefix + RECORD_ID

    @property
    def answer_columns(self) -> dict[str, str]:
        """From an answer column's own name to its name in the tables."""
        unused = "embedding" if self.family.kind == "text" else "response"
        return {name: self.spec.output_prefix + name for name in ANSWER_COLUMNS if name != unused}

    @property
    def parameters(self) -> dict[str, Any]:
        """What beside the prompt shapes the request, for manifests."""
        return self.task.model_dump(mode="json", exclude={"prompt", "prompt_id"}, exclude_none=True)

    def check_columns(self, columns: list[str]) -> None:
        """
        Raises:
            ColumnClash: An input column has the name of an answer column.
            PromptError: A placeholder or the column to embed is not among *columns*.
        """
        clashes = [name for name in (self.record_id, *self.answer_columns.values()) if name in columns]
        if clashes:
            raise ColumnClash(
                f"the dataset already has column {', '.join(map(repr, clashes))}, which the answer needs; "
                "set `output_prefix: bedrock_` to name the answer's columns otherwise"
            )
        for template in (self.prompt, self.system):
            if template is not None:
                template.check(columns)
        if not isinstance(self.task, TextTask) and self.task.column not in columns:
            raise PromptError(
                f"task.embedding.column {self.task.column!r} is not in the dataset; it has: {', '.join(columns)}"
            )

    def with_records(self, rows: pl.DataFrame, *, keyed: bool = False) -> pl.DataFrame:
        """
        Make a record of each row.

        Args:
            rows: The input's columns and the record id.
            keyed: Whether `KEY` is wanted too.

        Returns:
            *rows* and `LINE`: String, the JSONL record, null where none can be made; `ERROR_CODE` and
            `ERROR_MESSAGE`: String, null where one can; `KEY`: String, 32 hex digits, the same for rows whose
            records say the same to the same model.
        """
        prompt = self._rendered(rows.schema)
        plain = rows[self.record_id].str.contains(WIRE_ID).all()
        record_id = pl.col(self.record_id)
        # In steps, because an eager frame computes a shared sub-expression as often as it stands in a query.
        parts = rows.select(
            id=record_id if plain else wire_id(record_id),
            text=prompt.text,
            system=pl.lit(None) if prompt.system is None else prompt.system,
        )
        line = pl.struct(recordId="id", modelInput=self._request()).struct.json_encode()
        faults = self._faults(parts.with_columns(line.alias(LINE)), with_system=prompt.system is not None)
        return rows.hstack(faults.hstack(parts.select(self._key().alias(KEY))) if keyed else faults)

    def _request(self) -> pl.Expr:
        """The `modelInput`, over String columns `text` and `system`."""
        return self.family.request(Prompt(pl.col("text"), pl.col("system") if self.system else None), self.task)

    @cached_property
    def _said_to_all(self) -> str:
        """What beside the prompt decides the answer: the model, and the request around a prompt."""
        probe = _PROBE.select(self._request().alias("r")).select(pl.col("r").struct.json_encode()).item()
        return json.dumps([self.spec.model, self.spec.model_invocation_type, probe])

    def _key(self) -> pl.Expr:
        """Of a row without a record the key is of no use."""
        parts = [pl.lit(self._said_to_all), pl.col("text"), *([pl.col("system")] if self.system else [])]
        return sha256(pl.concat_str(parts, separator="\x1e")).str.head(_KEY_HEX_DIGITS)

    def _faults(self, made: pl.DataFrame, *, with_system: bool) -> pl.DataFrame:
        """LINE, ERROR_CODE and ERROR_MESSAGE of records that are made: a bad one becomes null and says why."""
        limit, used = self.spec.limits.max_bytes_per_record, ", ".join(self._used())
        n_bytes = pl.col(LINE).str.len_bytes()
        null = pl.col("text").is_null() | pl.col("system").is_null() if with_system else pl.col("text").is_null()
        reasons = (
            (null, "null_value", pl.lit(f"null in a column the prompt uses: {used}")),
            (pl.col("text").str.strip_chars() == "", "empty_prompt", pl.lit("the prompt is empty")),
            (n_bytes > limit, "record_too_large", pl.format(f"the record has {{}} bytes, above {limit}", n_bytes)),
        )
        code, message = pl.lit(None, pl.String), pl.lit(None, pl.String)
        if made.select(pl.any_horizontal(condition.any() for condition, _, _ in reasons)).item():
            for condition, name, text in reversed(reasons):
                code = pl.when(condition).then(pl.lit(name)).otherwise(code)
                message = pl.when(condition).then(text).otherwise(message)
        faults = made.select(LINE, code.alias(ERROR_CODE), message.alias(ERROR_MESSAGE))
        return faults.with_columns(pl.when(pl.col(ERROR_CODE).is_null()).then(LINE).alias(LINE))

    def _rendered(self, schema: pl.Schema) -> Prompt:
        if not isinstance(self.task, TextTask):
            return Prompt(as_text(self.task.column, schema[self.task.column]))
        default = self.task.null_default
        text = self.prompt.render(schema, default) if self.prompt else pl.lit("")
        return Prompt(text, self.system.render(schema, default) if self.system else None)

    def _used(self) -> list[str]:
        templates = [template for template in (self.prompt, self.system) if template]
        if isinstance(self.task, TextTask):
            return list(dict.fromkeys(column for template in templates for column in template.columns))
        return [self.task.column]
