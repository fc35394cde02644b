"""A pipeline ready to work: the spec with its family and templates resolved and checked."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from bedrock_assets.answer_schema import AnswerSchema, parse_schema
from bedrock_assets.asking import faults_of, instructions, repair_notes, require_no_tokens, split_tokens
from bedrock_assets.errors import ColumnClash, ConfigError, PromptError
from bedrock_assets.families import (
    Family,
    Form,
    Image,
    Prompt,
    Task,
    bare_id,
    encoded,
    family_of,
    schema_mode_of,
    task_of,
)
from bedrock_assets.ids import RECORD_ID, WIRE_ID, sha256, wire_id
from bedrock_assets.images import image_base64, image_bytes, image_format
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
        _ = self.family, self.schema, self.form
        for template in (self.prompt, self.system):
            require_no_tokens(template, self.family)
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

    @cached_property
    def schema(self) -> AnswerSchema | None:
        """The form of a structured answer, if one is asked for."""
        if self.spec.answer_schema is None:
            return None
        if self.family.kind != "text":
            raise ConfigError("schema: an embedding has no fields; leave `schema` out, or choose a text task")
        schema = parse_schema(self.spec.answer_schema)
        taken = [name for name in schema.fields if name in (RECORD_ID, *ANSWER_COLUMNS)]
        if taken:
            raise ConfigError(f"schema.{taken[0]}: the answer has a column of that name already; choose another one")
        return schema

    @cached_property
    def form(self) -> Form | None:
        """How the schema is asked for."""
        if self.schema is None:
            return None
        mode = schema_mode_of(self.spec, self.family)
        return Form(mode, self.schema.json_schema(bounds=mode != "native"))

    @property
    def images(self) -> tuple[str, ...]:
        """Columns of images."""
        return self.task.images if isinstance(self.task, TextTask) else ()

    @property
    def dimensions(self) -> int | None:
        """Length of each vector; None of texts."""
        return None if isinstance(self.task, TextTask) else self.task.dimensions or self.family.dimensions

    @property
    def record_id(self) -> str:
        """Name of the record id column."""
        return self.spec.output_prefix + RECORD_ID

    @property
    def answer_columns(self) -> dict[str, str]:
        """From an answer column's own name to its name in the tables."""
        unused = "embedding" if self.family.kind == "text" else "response"
        names = [name for name in ANSWER_COLUMNS if name != unused]
        names[2:2] = self.schema.fields if self.schema else ()
        return {name: self.spec.output_prefix + name for name in names}

    @property
    def parameters(self) -> dict[str, Any]:
        """What beside the prompt shapes the request, for manifests."""
        form = {"schema_mode": self.form.mode, "schema": self.form.schema} if self.form else {}
        return self.task.model_dump(mode="json", exclude={"prompt", "prompt_id"}, exclude_none=True) | form

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
        absent = [name for name in self.images if name not in columns]
        if absent:
            raise PromptError(f"task.text.images: column {absent[0]!r} is not in the dataset; it has: {columns}")
        if not isinstance(self.task, TextTask) and self.task.column not in columns:
            raise PromptError(
                f"task.embedding.column {self.task.column!r} is not in the dataset; it has: {', '.join(columns)}"
            )

    def with_records(
        self, rows: pl.DataFrame, violations: pl.Series | None = None, *, keyed: bool = False
    ) -> pl.DataFrame:
        """
        Make a record of each row.

        Args:
            rows: The input's columns and the record id.
            violations: What was wrong with an earlier answer to each row, String, to be said in its prompt.
            keyed: Whether `KEY` is wanted too.

        Returns:
            *rows* and `LINE`: String, the JSONL record, null where none can be made; `ERROR_CODE` and
            `ERROR_MESSAGE`: String, null where one can; `KEY`: String, 32 hex digits, the same for rows whose
            records say the same to the same model.
        """
        plain = rows[self.record_id].str.contains(WIRE_ID).all()
        record_id = pl.col(self.record_id)
        # In steps, because an eager frame computes a shared sub-expression as often as it stands in a query.
        parts = rows.select(
            id=record_id if plain else wire_id(record_id), **self._rendered(rows.schema), **self._images(rows.schema)
        )
        keys = parts.select(self._key(parts.columns[1:]).alias(KEY)) if keyed else pl.DataFrame()
        if violations is not None:
            parts = parts.with_columns(text=pl.concat_str("text", repair_notes(violations, self.family)))
        request = self.family.request(self._prompt(), self.task)
        line = encoded({"recordId": pl.col("id"), "modelInput": request})
        made = parts.with_columns(line.alias(LINE))
        limit, used = self.spec.limits.max_bytes_per_record, ", ".join(self._used())
        code, message = faults_of(made, self.family, len(self.images), limit, used)
        faults = made.select(LINE, code.alias(ERROR_CODE), message.alias(ERROR_MESSAGE))
        faults = faults.with_columns(pl.when(pl.col(ERROR_CODE).is_null()).then(LINE).alias(LINE))
        return rows.hstack(faults.hstack(keys))

    @cached_property
    def _said_to_all(self) -> str:
        """What beside a row's own parts decides its answer: the model, and the request around them."""
        names = ["text", "system", *(f"{part}_{i}" for i in range(len(self.images)) for part in ("base64", "format"))]
        request = encoded({"modelInput": self.family.request(self._prompt(), self.task)})
        probe = pl.DataFrame({name: ["png"] for name in names}).select(request.alias(LINE)).item()
        return json.dumps([self.spec.model, self.spec.model_invocation_type, probe])

    def _key(self, parts: list[str]) -> pl.Expr:
        """Of a row without a record the key is of no use."""
        said = pl.concat_str(pl.lit(self._said_to_all), *parts, separator="\x1e")
        return sha256(said).str.head(_KEY_HEX_DIGITS)

    def _prompt(self) -> Prompt:
        """The parts of a request, columns of the frame that `_rendered` and `_images` make."""
        text = pl.col("text")
        if self.form and self.form.mode == "prompt":
            text = pl.concat_str(text, pl.lit(instructions(self.form.schema)))
        images = tuple(Image(pl.col(f"base64_{i}"), pl.col(f"format_{i}")) for i in range(len(self.images)))
        system = None if self.system is None else pl.col("system")
        return Prompt(text, system, images, self.form, bare_id(self.spec.model))

    def _images(self, schema: pl.Schema) -> dict[str, pl.Expr]:
        """Base64 and format of each image."""
        contents = [image_bytes(column, schema[column]) for column in self.images]
        formats = {f"format_{i}": image_format(content) for i, content in enumerate(contents)}
        return {f"base64_{i}": image_base64(content) for i, content in enumerate(contents)} | formats

    def _rendered(self, schema: pl.Schema) -> dict[str, pl.Expr]:
        """Text and, where there is one, system prompt of each row."""
        if not isinstance(self.task, TextTask):
            return {"text": as_text(self.task.column, schema[self.task.column])}
        templates = {"text": self.prompt, "system": self.system}
        rendered = {
            name: template.render(schema, self.task.null_default) for name, template in templates.items() if template
        }
        split = self.task.special_tokens == "split"
        return {name: split_tokens(text, self.family) if split else text for name, text in rendered.items()}

    def _used(self) -> list[str]:
        templates = [template for template in (self.prompt, self.system) if template]
        if isinstance(self.task, TextTask):
            return [*dict.fromkeys(column for template in templates for column in template.columns), *self.images]
        return [self.task.column]
