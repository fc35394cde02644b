"""Rows become records: the lines of JSONL that Bedrock reads."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from bedrock_assets.columns import column
from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.config.task import DEFAULT_MAX_TOKENS, POSITION, POSITIONS, EmbeddingTask, TextTask
from bedrock_assets.families import AnswerFormat, Family, Prompt, Task, document_rules, encoded
from bedrock_assets.pipeline.attachments import Attachments, Reason
from bedrock_assets.pipeline.further import NONE, FurtherKeys
from bedrock_assets.pipeline.ids import WIRE_ID, sha256, wire_id
from bedrock_assets.pipeline.redact import Redactor
from bedrock_assets.pipeline.templates import Template, as_text, split_tokens
from bedrock_assets.pipeline.truncate import cut, note

LINE, ERROR_CODE, ERROR_MESSAGE = ("__line", "__error_code", "__error_message")
KEY, REDACTED = "__key", "__redacted"
"""Columns of what `RecordMaker.make` returns, which has no column of the input."""
_KEY_HEX_DIGITS = 32
_OF_READY_TASKS = {
    *("system", "max_tokens", "temperature", "top_p", "stop_sequences", "null_default", "images", "special_tokens"),
}
_SEPARATOR, _ESCAPE = "\x1e", "\x1f"
_LEFT_OUT = "…"


@dataclass(frozen=True)
class RecordMaker:
    """
    Everything that a record is made from, besides the row.

    Args:
        record_id: Name of the record id column.
        swapped: The prompt of rows that show the second text first, in a comparison.
        answer_format: How a structured answer is requested.
        further: Keys of the request that the pipeline writes itself.
    """

    spec: PipelineSpec
    family: Family
    task: Task
    record_id: str
    prompt: Template | None = None
    swapped: Template | None = None
    system: Template | None = None
    answer_format: AnswerFormat | None = None
    further: FurtherKeys = NONE

    def make(self, rows: pl.DataFrame, violations: pl.Series | None = None, *, keyed: bool = False) -> pl.DataFrame:
        """
        Make a record of each row.

        Args:
            rows: The input's columns and the record id.
            violations: What was wrong with an earlier answer to each row, String, to be said in its prompt.
            keyed: Whether to add `KEY` and, where columns are redacted, `REDACTED`.

        Returns:
            The record id, and `LINE`: String, the JSONL record, null where none can be made; `ERROR_CODE` and
            `ERROR_MESSAGE`: String, null where one can, but that the message of a text that was cut says so; `KEY`:
            String, 32 hex digits, the same for rows whose records say the same to the same model.
        """
        redacted = self.redactor.redact(rows) if self.redactor else None
        rows = redacted.rows if redacted else rows
        is_plain = rows[self.record_id].str.contains(WIRE_ID).all()
        record_id = column(self.record_id)
        # In steps, because an eager frame computes a shared sub-expression as often as it stands in a query.
        parts = rows.select(
            id=record_id if is_plain else wire_id(record_id),
            **self._rendered(rows.schema),
            **self.attachments.rendered(rows),
        )
        parts, n_left_out = self._bounded(parts)
        keys = parts.select(self._key(parts.columns[1:]).alias(KEY)) if keyed else pl.DataFrame()
        if keyed and redacted:
            keys = keys.with_columns(redacted.counts.to_struct(REDACTED))
        if violations is not None:
            parts = parts.with_columns(text=pl.concat_str("text", repair_notes(violations, self.family)))
        line = encoded({"recordId": pl.col("id"), "modelInput": self._request()})
        records = parts.with_columns(line.alias(LINE))
        code, message = self._faults(records, n_left_out)
        records = records.select(LINE, code.alias(ERROR_CODE), message.alias(ERROR_MESSAGE))
        records = records.with_columns(pl.when(pl.col(ERROR_CODE).is_null()).then(LINE).alias(LINE))
        if isinstance(self.task, EmbeddingTask) and self.task.truncate:
            whole = rows.select(as_text(self.task.column, rows.schema[self.task.column])).to_series()
            texts = pl.DataFrame({"whole": whole, "sent": parts["text"]})
            told = texts.select(note(pl.col("whole"), pl.col("sent"))).to_series()
            records = records.with_columns(pl.coalesce(ERROR_MESSAGE, told).alias(ERROR_MESSAGE))
        return rows.select(self.record_id).hstack(records.hstack(keys))

    def texts(self, rows: pl.DataFrame) -> pl.Series:
        """The prompt, or the text to embed, of each row: String, null where there is none."""
        rows = self.redactor.redact(rows).rows if self.redactor else rows
        return rows.select(text=self._rendered(rows.schema)["text"])["text"]

    @cached_property
    def redactor(self) -> Redactor | None:
        """Replaces personal data in a row's columns, before anything is made of them; None if nothing is replaced."""
        redact, used = self.spec.redact, self.columns
        columns = tuple(name for name in redact.columns if name in used) if redact else ()
        return Redactor(columns, redact.kinds) if redact and columns else None

    @property
    def templates(self) -> tuple[Template, ...]:
        """The templates that there are."""
        own = (self.prompt, self.swapped, self.system)
        return (*(template for template in own if template is not None), *self.further.templates)

    @cached_property
    def attachments(self) -> Attachments:
        """The columns of images and documents."""
        if not isinstance(self.task, TextTask):
            return Attachments()
        rules = document_rules(self.family, self.spec.facts_of(self.spec.model))
        return Attachments(self.task.images, self.task.documents, rules)

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything besides the prompt that shapes the request, for manifests."""
        answer_format = self.answer_format
        schema = {"schema_mode": answer_format.mode, "schema": answer_format.schema} if answer_format else {}
        later = {name for name in ("request", "documents") if not getattr(self.task, name, None)}
        unused = {"prompt", "prompt_id", "fill"} | later
        return self.task.model_dump(mode="json", exclude=unused, exclude_none=True) | schema

    @property
    def settings(self) -> dict[str, Any]:
        """Of `parameters`, those that are not left at their defaults: a default that comes later changes nothing."""
        unset = self.task.model_dump(mode="json", include=self.task.model_fields_set - {"prompt", "prompt_id", "fill"})
        if self.spec.task.preset:
            # Ready tasks have always had these, also at their defaults; without them jobs in flight would be stale.
            written = unset.get("max_tokens", DEFAULT_MAX_TOKENS)
            unset = self.task.model_dump(mode="json", include=_OF_READY_TASKS) | {"max_tokens": written} | unset
        schema = {name: value for name, value in self.parameters.items() if name.startswith("schema")}
        return unset | schema

    @cached_property
    def shared_request(self) -> str:
        """The request around a row's own parts, as JSON."""
        names = ["text", "system", *self.attachments.parts, *self.further.names]
        request = encoded({"modelInput": self._request()})
        return pl.DataFrame({name: ["png"] for name in names}).select(request.alias(LINE)).item()

    @cached_property
    def _shared_content(self) -> str:
        """Everything besides a row's own parts that decides its answer: the model, and the request around them."""
        return json.dumps([self.spec.model_identity, self.spec.model_invocation_type, self.shared_request])

    def _key(self, parts: list[str]) -> pl.Expr:
        """Hash of all that decides an answer; for a row without a record it is of no use."""
        content = pl.concat_str(pl.lit(self._shared_content), *map(_without_separator, parts), separator=_SEPARATOR)
        return sha256(content).str.head(_KEY_HEX_DIGITS)

    def _request(self) -> Any:
        """The request, with the columns that `_rendered` and the attachments make."""
        text = pl.col("text")
        if self.answer_format and self.answer_format.mode == "prompt":
            text = pl.concat_str(text, pl.lit(instructions(self.answer_format.schema)))
        system = None if self.system is None else pl.col("system")
        facts, sent = self.spec.facts_of(self.spec.model), self.attachments
        prompt = Prompt(text, system, sent.sent_images, self.answer_format, facts, sent.sent_documents)
        return self.further.added_to(self.family.request(prompt, self.task))

    def _rendered(self, schema: pl.Schema) -> dict[str, pl.Expr]:
        """Text of each row and, where there are such, system prompt and texts of further keys."""
        if not isinstance(self.task, TextTask):
            text = as_text(self.task.column, schema[self.task.column])
            if self.task.truncate:
                text = cut(text, self.task.truncate)
            return {"text": text, **self.further.rendered(schema, None)}
        templates = {"text": self.prompt, "system": self.system}
        rendered = {
            name: template.render(schema, self.task.null_default) for name, template in templates.items() if template
        }
        if self.swapped:
            second_first = self.swapped.render(schema, self.task.null_default)
            rendered["text"] = pl.when(pl.col(POSITION) == POSITIONS[1]).then(second_first).otherwise(rendered["text"])
        split = self.task.special_tokens == "split"
        rendered = {name: split_tokens(text, self.family) if split else text for name, text in rendered.items()}
        return rendered | self.further.rendered(schema, self.task.null_default)

    @property
    def _max_bytes(self) -> float:
        """The most bytes that a record may have."""
        return min(self.spec.limits.max_bytes_per_record, self.attachments.max_request_bytes or math.inf)

    def _bounded(self, parts: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series | None]:
        """
        Leave out texts that no record could have: to encode them takes many times the memory that they have.

        Returns:
            The parts, and how many bytes of each row were left out, UInt32; None if nothing was.
        """
        texts = [name for name in ("text", "system", *self.further.names) if name in parts.columns]
        is_too_long = {name: column(name).str.len_bytes() > self._max_bytes for name in texts}
        if not parts.select(pl.any_horizontal(condition.any() for condition in is_too_long.values())).item():
            return parts, None
        n_left_out = parts.select(
            pl.sum_horizontal(
                pl.when(condition).then(column(name).str.len_bytes()).otherwise(0)
                for name, condition in is_too_long.items()
            ).alias("n")
        )["n"]
        short = (
            pl.when(condition).then(pl.lit(_LEFT_OUT)).otherwise(column(name)).alias(name)
            for name, condition in is_too_long.items()
        )
        return parts.with_columns(short), n_left_out

    def _faults(self, records: pl.DataFrame, n_left_out: pl.Series | None) -> tuple[pl.Expr, pl.Expr]:
        """
        Why a record cannot be sent.

        Args:
            records: `text`, `system` (if there is one), those of the attachments, `LINE`.
            n_left_out: See `_bounded`.

        Returns:
            Code and message, String, null where it can be sent.
        """
        code, message = pl.lit(None, pl.String), pl.lit(None, pl.String)
        reasons = self._reasons(records, n_left_out)
        if records.select(pl.any_horizontal(condition.any() for condition, _, _ in reasons)).item():
            for condition, name, text in reversed(reasons):
                code = pl.when(condition).then(pl.lit(name)).otherwise(code)
                message = pl.when(condition).then(text).otherwise(message)
        return code, message

    def _reasons(self, records: pl.DataFrame, n_left_out: pl.Series | None) -> list[Reason]:
        """Conditions under which a record cannot be sent, each with its code and message; the first one counts."""
        texts = [column(name) for name in ("text", "system") if name in records.columns]
        further = [column(name) for name in self.further.names]
        n_bytes, max_bytes = pl.col(LINE).str.len_bytes(), self._max_bytes
        if n_left_out is not None:
            n_bytes = n_bytes + pl.lit(n_left_out)
        too_large = pl.format(f"the record has {{}} bytes, above {max_bytes}", n_bytes)
        used = ", ".join(self.columns)
        null = pl.any_horizontal(value.is_null() for value in (*texts, *self.attachments.contents(), *further))
        reasons: list[Reason] = [
            (null, "null_value", pl.lit(f"null in a column that the prompt uses: {used}")),
            (pl.col("text").str.strip_chars() == "", "empty_prompt", pl.lit("the prompt is empty")),
            *self.attachments.reasons(used),
            (n_bytes > max_bytes, "record_too_large", too_large),
        ]
        if self.family.special:
            token = pl.coalesce(text.str.extract(self.family.special, 0) for text in texts)
            message = pl.format("the text has {}, a token of the model's chat template; see `special_tokens`", token)
            reasons.append((token.is_not_null(), "special_token", message))
        return reasons

    @property
    def columns(self) -> list[str]:
        """The input columns that a record is made from."""
        further = [name for template in self.further.templates for name in template.columns]
        if not isinstance(self.task, TextTask):
            return [*dict.fromkeys([self.task.column, *further])]
        templates = [template for template in (self.prompt, self.system, *self.further.templates) if template]
        return [*dict.fromkeys(name for template in templates for name in template.columns), *self.attachments.columns]


def _without_separator(part: str) -> pl.Expr:
    """A part of a key in which the separator cannot occur, so that two rows' parts are never the same text."""
    escaped = column(part).cast(pl.String).str.replace_all(_ESCAPE, f"{_ESCAPE}0", literal=True)
    return escaped.str.replace_all(_SEPARATOR, f"{_ESCAPE}1", literal=True)


def instructions(schema: Mapping[str, Any]) -> str:
    """The text that asks a model for JSON, where its request has no field for a schema."""
    return (
        "\n\nAnswer with one JSON object and nothing else: no words around it, no code fence. It has to conform to "
        f"this JSON schema:\n{json.dumps(schema, ensure_ascii=False)}"
    )


def repair_notes(violations: pl.Series, family: Family) -> pl.Series:
    """The text that follows a prompt whose earlier answer broke the schema, String; it quotes the model."""
    note = pl.format("\n\nAn earlier answer did not conform: {}. Correct that in your answer.", pl.col("violation"))
    return violations.alias("violation").to_frame().select(split_tokens(note, family)).to_series()
