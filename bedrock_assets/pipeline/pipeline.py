"""A spec with its family, schema and templates found and checked."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from typing_extensions import override

from bedrock_assets.config.answer_schema import AnswerSchema, parse_schema
from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.config.task import TextTask
from bedrock_assets.errors import ColumnClash, ConfigError, PromptError
from bedrock_assets.families import AnswerFormat, Family, Task, family_of, schema_mode_of, task_of
from bedrock_assets.pipeline.ids import RECORD_ID
from bedrock_assets.pipeline.rows import open_rows
from bedrock_assets.pipeline.templates import Template, filled, load_template, parse_template, require_no_tokens
from bedrock_assets.pipeline.workload import ANSWER_COLUMNS, Workload
from bedrock_assets.sources import Source
from bedrock_assets.storage.store import Store


@dataclass(frozen=True)
class Resolved(Workload):
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
        for template in (self.prompt, self.swapped, self.system):
            require_no_tokens(template, self.family)
        if columns is not None:
            self.check_columns(columns)

    @cached_property
    @override
    def family(self) -> Family:
        return family_of(self.spec)

    @cached_property
    def source(self) -> Source:
        """Where the rows come from."""
        return self.rows()

    def rows(self, store: Store | None = None) -> Source:
        """The same; the table of another pipeline is read from *store*."""
        task = self.task
        null_default = task.null_default if isinstance(task, TextTask) else None
        return open_rows(self.spec.source, self.spec.expansions, store, null_default)

    @cached_property
    def task(self) -> Task:
        """What is asked."""
        return task_of(self.spec)

    @cached_property
    def prompt(self) -> Template | None:
        """The user prompt of a text task."""
        return self._template(self.task) if isinstance(self.task, TextTask) else None

    @cached_property
    def swapped(self) -> Template | None:
        """Of a comparison: the prompt of rows that show the second text first."""
        return self._template(self.spec.task.compare.swapped) if self.spec.task.compare else None

    def _template(self, task: TextTask) -> Template:
        if task.prompt_id is not None:
            return load_template(task.prompt_id, self.folder, task.fill)
        name = "task.text.prompt"
        return parse_template(filled(task.prompt or "", task.fill, name), name)

    @cached_property
    def system(self) -> Template | None:
        """The system prompt, if any."""
        task = self.task
        if not isinstance(task, TextTask) or task.system is None:
            return None
        return parse_template(task.system, "task.text.system")

    @cached_property
    @override
    def schema(self) -> AnswerSchema | None:
        written = self.spec.schema_written
        if written is None:
            return None
        if self.family.kind != "text":
            raise ConfigError("schema: an embedding has no fields; leave `schema` out, or choose a text task")
        schema = parse_schema(written)
        taken = [name for name in schema.fields if name in (RECORD_ID, *ANSWER_COLUMNS)]
        if taken:
            raise ConfigError(f"schema.{taken[0]}: the answer has a column of that name already; choose another one")
        return schema

    @cached_property
    def form(self) -> AnswerFormat | None:
        """How the schema is asked for."""
        if self.schema is None:
            return None
        mode = schema_mode_of(self.spec, self.family)
        return AnswerFormat(mode, self.schema.json_schema(bounds=mode != "native"))

    @property
    def images(self) -> tuple[str, ...]:
        """Columns of images."""
        return self.task.images if isinstance(self.task, TextTask) else ()

    @property
    @override
    def dimensions(self) -> int | None:
        return None if isinstance(self.task, TextTask) else self.task.dimensions or self.family.dimensions

    @property
    @override
    def record_id(self) -> str:
        return self.spec.output_prefix + RECORD_ID

    @property
    @override
    def n_repairs(self) -> int:
        return self.spec.repair

    @property
    @override
    def keeps_answers(self) -> bool:
        return self.spec.reuse_answers_days > 0

    @property
    @override
    def leaves_stale(self) -> bool:
        return self.spec.on_stale == "leave"

    @override
    def _column(self, name: str) -> str:
        return self.spec.output_prefix + name

    @property
    def parameters(self) -> dict[str, Any]:
        """What beside the prompt shapes the request, for manifests."""
        form = {"schema_mode": self.form.mode, "schema": self.form.schema} if self.form else {}
        return self.task.model_dump(mode="json", exclude={"prompt", "prompt_id", "fill"}, exclude_none=True) | form

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
        for template in (self.prompt, self.swapped, self.system):
            if template is not None:
                template.check(columns)
        absent = [name for name in self.images if name not in columns]
        if absent:
            raise PromptError(f"task.text.images: column {absent[0]!r} is not in the dataset; it has: {columns}")
        if not isinstance(self.task, TextTask) and self.task.column not in columns:
            raise PromptError(
                f"task.embedding.column {self.task.column!r} is not in the dataset; it has: {', '.join(columns)}"
            )
