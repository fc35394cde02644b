"""A pipeline: its spec with everything that the spec names found and checked."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bedrock_assets.config.answer_schema import AnswerSchema, parse_schema
from bedrock_assets.config.gold import GoldSpec
from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.config.task import VERDICT_COLUMNS, TextTask
from bedrock_assets.errors import ColumnClash, ConfigError, PromptError
from bedrock_assets.families import AnswerFormat, Family, choose_schema_mode, family_of, notices, task_of
from bedrock_assets.pipeline.further import further_keys
from bedrock_assets.pipeline.ids import RECORD_ID
from bedrock_assets.pipeline.records import RecordMaker
from bedrock_assets.pipeline.rows import open_rows
from bedrock_assets.pipeline.templates import Template, filled, load_template, parse_template, require_no_tokens
from bedrock_assets.pipeline.workload import ANSWER_COLUMNS, Workload
from bedrock_assets.sources import Limited, Source, located, open_source
from bedrock_assets.storage.store import Store


@dataclass(frozen=True)
class Pipeline:
    """
    A pipeline that can work: rows from `source`, records from `records`, jobs and answers by `workload`.

    Args:
        folder: Where `<prompt_id>.txt` is looked for first.

    Raises:
        ConfigError: The model, its family, the task, the schema or a template is wrong, or two models of the pipeline
            take different requests; nothing was read or written.
        DataError: The columns of the source do not fit; see `check_columns`.
    """

    spec: PipelineSpec
    folder: Path
    input: Source | None = None
    """Where the rows are, if the source is an asset and Dagster has been asked for them."""

    def __post_init__(self) -> None:
        columns = self.source.columns()
        for template in self.records.templates:
            require_no_tokens(template, self.family)
        self._check_redact()
        if columns is not None:
            self.check_columns(columns)
        for target in self.spec.targets[1:]:
            other = Pipeline(self.spec.model_copy(update={"targets": (target,)}), self.folder)
            if other.records.shared_request != self.records.shared_request:
                raise ConfigError(
                    f"model: {self.spec.model!r} and {target.model!r} take different requests, but a shard is written "
                    "once, for whichever has a free slot. Set `schema_mode` if only that differs, or "
                    "`model_invocation_type: Converse` where both support it, or make a pipeline for each"
                )

    def _check_redact(self) -> None:
        """
        Raises:
            ConfigError: A column would be sent all the same: as a record id, as a file, or in the text of a group.
        """
        source, redact = self.spec.source, self.spec.redact
        files, repeated = self.records.attachments.columns, [step.column for step in self.spec.expansions]
        into = source.group_by.into if source.group_by else ""
        for name in redact.columns if redact else ():
            if redact and name in self._grouped and into not in redact.columns:
                raise ConfigError(
                    f"redact: `group_by.each` writes column {name!r} into {into!r}, where it would stay as it is; "
                    f"add {into!r} to `redact`"
                )
            if name == source.id_column or (source.id_column and name in repeated):
                raise ConfigError(
                    f"redact: column {name!r} makes the record ids, which are sent with each prompt; name another "
                    "`id_column`, or none: ids then come from position and content"
                )
            if name in files:
                raise ConfigError(
                    f"redact: column {name!r} holds images or documents, which are sent as they are; remove it from "
                    "`redact`, or do not send them"
                )

    @property
    def _grouped(self) -> tuple[str, ...]:
        """Columns that the text of a group shows."""
        group = self.spec.source.group_by
        return parse_template(group.each, "group_by.each").columns if group else ()

    def require_placeholder(self) -> None:
        """
        Raises:
            PromptError: Nothing of a row is in its prompt, so that all rows would ask for the same.
        """
        records = self.records
        columns = [*records.attachments.columns, *(column for one in records.templates for column in one.columns)]
        if records.prompt and not columns:
            raise PromptError(
                f"prompt {records.prompt.name!r} has no placeholder, so every row would ask for the same; write the "
                "name of a column in braces, such as {text}"
            )

    @cached_property
    def workload(self) -> Workload:
        """What jobs need to know of it."""
        spec, task = self.spec, self.records.task
        return Workload(
            spec,
            self.family,
            schema=self.schema,
            dimensions=None if isinstance(task, TextTask) else task.dimensions or self.family.dimensions,
            output_prefix=spec.output_prefix,
            n_repairs=spec.repair,
            keeps_answers=spec.reuse_answers_days > 0,
            leaves_stale=spec.on_stale == "leave",
            canary=spec.canary,
            approval=spec.approval,
            gold=self.gold,
            budget_usd=spec.budget_usd,
            preflight=spec.preflight,
            records=self.records,
        )

    @cached_property
    def gold(self) -> GoldSpec | None:
        """
        Known answers, and the name in the tables of the answer that is held against them.

        Raises:
            ConfigError: There is no such answer, or the prompt shows the known one.
        """
        gold = self.spec.gold
        if gold is None:
            return None
        if gold.column in {column for one in self.records.templates for column in one.columns}:
            raise ConfigError(f"gold.column: the prompt shows {gold.column!r} to the model; remove it from the prompt")
        return gold.model_copy(update={"answer": self.answer_named(gold.answer)})

    def answer_named(self, name: str | None) -> str:
        """
        The name in the tables of an answer column, by default of `label`, the only field of `schema`, or `response`.

        Raises:
            ConfigError: There is none of this name, or several that may be meant.
        """
        if self.family.kind != "text":
            raise ConfigError(f"{self.spec.name} answers with embeddings, which are not compared")
        names = [*self.schema.fields] if self.schema else ["response"]
        preferred = ["label"] if "label" in names else names
        if name is None and len(preferred) > 1:
            raise ConfigError(f"{self.spec.name} has several answers; name one with `answer`: {', '.join(names)}")
        if (answer := name or preferred[0]) not in names:
            raise ConfigError(
                f"answer {answer!r} is no answer column of {self.spec.name}; there are: {', '.join(names)}"
            )
        return self.spec.output_prefix + answer

    @cached_property
    def records(self) -> RecordMaker:
        """How records are made of rows."""
        task, compare = task_of(self.spec), self.spec.task.compare
        system = task.system if isinstance(task, TextTask) else None
        form = self._answer_format()
        return RecordMaker(
            self.spec,
            self.family,
            task,
            record_id=self.spec.output_prefix + RECORD_ID,
            prompt=self._template(task) if isinstance(task, TextTask) else None,
            swapped=self._template(compare.swapped) if compare else None,
            system=None if system is None else parse_template(system, "task.text.system"),
            answer_format=form,
            further=further_keys(self.family, task, form),
        )

    @property
    def notices(self) -> list[str]:
        """What people should know of the models, and of how they are asked, that is no error."""
        mode = choose_schema_mode(self.spec, self.family, task_of(self.spec))[1] if self.schema else None
        redact, group = self.spec.redact, self.spec.source.group_by
        used = [*self.records.columns]
        used += self._grouped if group and group.into in used else ()
        unused = [name for name in (redact.columns if redact else ()) if name not in used]
        unsent = [f"redact: column {name!r} is not in the prompt, so it is not sent anyway" for name in unused]
        return [*notices(self.spec), *([mode] if mode else []), *unsent]

    @cached_property
    def family(self) -> Family:
        """The model's request and response format."""
        return family_of(self.spec)

    @cached_property
    def schema(self) -> AnswerSchema | None:
        """The form of a structured answer, if one is requested."""
        written = self.spec.schema_written
        if written is None:
            return None
        if self.family.kind != "text":
            raise ConfigError("schema: an embedding has no fields; leave `schema` out, or choose a text task")
        schema = parse_schema(written)
        taken = [name for name in schema.fields if name in (RECORD_ID, *ANSWER_COLUMNS)]
        if taken:
            raise ConfigError(f"schema.{taken[0]}: the answer already has a column of that name; choose another one")
        return schema

    def _answer_format(self) -> AnswerFormat | None:
        if self.schema is None:
            return None
        mode, _ = choose_schema_mode(self.spec, self.family, task_of(self.spec))
        return AnswerFormat(mode, self.schema.json_schema(bounds=mode != "native"))

    def _template(self, task: TextTask) -> Template:
        if task.prompt_id is not None:
            return load_template(task.prompt_id, self.folder, task.fill)
        name = "task.text.prompt"
        return parse_template(filled(task.prompt or "", task.fill, name), name)

    @cached_property
    def source(self) -> Source:
        """Where the rows come from."""
        return self.rows()

    def rows(self, store: Store | None = None) -> Source:
        """
        The source, reading other pipelines' tables from *store*.

        Args:
            store: Where those tables are; without it such a source cannot be read.
        """
        task = task_of(self.spec)
        null_default = task.null_default if isinstance(task, TextTask) else None
        source = self.input or open_source(self.spec.source, store, self.folder)
        if self.spec.source.limit:
            source = Limited(source, self.spec.source.limit)
        return open_rows(self.spec.source, self.spec.expansions, source, null_default)

    @property
    def path(self) -> str | None:
        """The path of the source; a relative one starts at the folder of the YAML, whatever process reads it."""
        path = self.spec.source.path
        return located(path, self.folder) if path else path

    def check_columns(self, columns: list[str]) -> None:
        """
        Raises:
            ColumnClash: An input column has the name of an answer column.
            PromptError: A placeholder, a column of images or documents, or the column to embed is not among *columns*.
        """
        verdicts = VERDICT_COLUMNS if self.spec.task.compare else ()
        ours = (self.record_id, *self.answer_columns.values(), *(self.spec.output_prefix + name for name in verdicts))
        clashes = [name for name in ours if name in columns]
        if clashes:
            raise ColumnClash(
                f"the dataset already has column {', '.join(map(repr, clashes))}, which the answer needs; "
                "set `output_prefix: bedrock_` (of `format`: --output-prefix) to name the answer's columns otherwise"
            )
        if self.gold and self.gold.column not in columns:
            raise PromptError(f"gold.column {self.gold.column!r} is not in the dataset; it has: {', '.join(columns)}")
        for name in self.spec.redact.columns if self.spec.redact else ():
            if name not in columns:
                raise PromptError(f"redact: column {name!r} is not in the dataset; it has: {', '.join(columns)}")
        for template in self.records.templates:
            template.check(columns)
        self.records.attachments.check(columns)
        task = self.records.task
        if not isinstance(task, TextTask) and task.column not in columns:
            raise PromptError(
                f"task.embedding.column {task.column!r} is not in the dataset; it has: {', '.join(columns)}"
            )

    @property
    def record_id(self) -> str:
        """Name of the record id column."""
        return self.workload.record_id

    @property
    def answer_columns(self) -> dict[str, str]:
        """From an answer column's own name to its name in the tables."""
        return self.workload.answer_columns
