"""What is asked beside the prompt's own words, and which rows cannot be asked about."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from bedrock_assets.config.task import POSITION, POSITIONS, TextTask
from bedrock_assets.errors import ConfigError
from bedrock_assets.families import Family, Image, Prompt, bare_id, encoded
from bedrock_assets.pipeline.ids import WIRE_ID, sha256, wire_id
from bedrock_assets.pipeline.images import image_base64, image_bytes, image_format
from bedrock_assets.pipeline.pipeline import Resolved
from bedrock_assets.pipeline.templates import as_text, split_tokens


def instructions(schema: Mapping[str, Any]) -> str:
    """What asks a model for JSON where a request has no place of its own for a schema."""
    return (
        "\n\nAnswer with one JSON object and nothing else: no words around it, no code fence. It has to conform to "
        f"this JSON schema:\n{json.dumps(schema, ensure_ascii=False)}"
    )


def repair_notes(violations: pl.Series, family: Family) -> pl.Series:
    """What is said of an earlier answer that broke the schema, String; it quotes the model, so tokens are split."""
    said = pl.format("\n\nAn earlier answer did not conform: {}. Correct that in your answer.", pl.col("violation"))
    return violations.alias("violation").to_frame().select(split_tokens(said, family)).to_series()


def faults_of(made: pl.DataFrame, family: Family, n_images: int, max_bytes: int, used: str) -> tuple[pl.Expr, pl.Expr]:
    """
    Why a record cannot be sent.

    Args:
        made: `text`, `system` (if there is one), `base64_0`, `format_0`, ... and the record, which is the last column.
        used: The columns that a record is made of, for messages.

    Returns:
        Code and message, String, null where it can.
    """
    code, message = pl.lit(None, pl.String), pl.lit(None, pl.String)
    reasons = _reasons(made, family, n_images, max_bytes, used)
    if made.select(pl.any_horizontal(condition.any() for condition, _, _ in reasons)).item():
        for condition, name, text in reversed(reasons):
            code = pl.when(condition).then(pl.lit(name)).otherwise(code)
            message = pl.when(condition).then(text).otherwise(message)
    return code, message


def _reasons(
    made: pl.DataFrame, family: Family, n_images: int, max_bytes: int, used: str
) -> list[tuple[pl.Expr, str, pl.Expr]]:
    texts = [pl.col(name) for name in ("text", "system") if name in made.columns]
    images = [pl.col(f"base64_{i}") for i in range(n_images)]
    formats = [pl.col(f"format_{i}") for i in range(n_images)]
    n_bytes = pl.col(made.columns[-1]).str.len_bytes()
    null = pl.any_horizontal(value.is_null() for value in (*texts, *images))
    found = [
        (null, "null_value", pl.lit(f"null in a column the prompt uses: {used}")),
        (pl.col("text").str.strip_chars() == "", "empty_prompt", pl.lit("the prompt is empty")),
        (n_bytes > max_bytes, "record_too_large", pl.format(f"the record has {{}} bytes, above {max_bytes}", n_bytes)),
    ]
    if formats:
        unknown = pl.any_horizontal(value.is_null() for value in formats)
        found.append((unknown, "unknown_image", pl.lit(f"an image is no JPEG, PNG, GIF or WebP; used: {used}")))
    if family.special:
        token = pl.coalesce(text.str.extract(family.special, 0) for text in texts)
        told = pl.format("the text has {}, a token of the model's chat template; see `special_tokens`", token)
        found.append((token.is_not_null(), "special_token", told))
    return found


LINE, ERROR_CODE, ERROR_MESSAGE = MADE = ("__line", "__error_code", "__error_message")
KEY = "__key"
"""Working columns, named so that no input column is in their way."""
_KEY_HEX_DIGITS = 32


@dataclass(frozen=True)
class Pipeline(Resolved):
    """
    A spec, everything it names, and the records.

    Raises:
        ConfigError: The model, its family, the task or a template is wrong, or two models of the pipeline are asked in
            different ways; nothing was read or written.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        for target in self.spec.targets[1:]:
            other = Pipeline(self.spec.model_copy(update={"targets": (target,)}), self.folder)
            if other._request_of_all != self._request_of_all:
                raise ConfigError(
                    f"model: {self.spec.model!r} and {target.model!r} are asked in different ways, and a shard is "
                    "written once for whichever has a slot free; set `schema_mode` if only that differs, or "
                    "`model_invocation_type: Converse` where both support it, or give each a pipeline of its own"
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
    def _request_of_all(self) -> str:
        """The request around a row's own parts."""
        names = ["text", "system", *(f"{part}_{i}" for i in range(len(self.images)) for part in ("base64", "format"))]
        request = encoded({"modelInput": self.family.request(self._prompt(), self.task)})
        return pl.DataFrame({name: ["png"] for name in names}).select(request.alias(LINE)).item()

    @cached_property
    def _said_to_all(self) -> str:
        """What beside a row's own parts decides its answer: the model, and the request around them."""
        return json.dumps([self.spec.model_identity, self.spec.model_invocation_type, self._request_of_all])

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
        if self.swapped:
            second_first = self.swapped.render(schema, self.task.null_default)
            rendered["text"] = pl.when(pl.col(POSITION) == POSITIONS[1]).then(second_first).otherwise(rendered["text"])
        split = self.task.special_tokens == "split"
        return {name: split_tokens(text, self.family) if split else text for name, text in rendered.items()}

    def _used(self) -> list[str]:
        templates = [template for template in (self.prompt, self.system) if template]
        if isinstance(self.task, TextTask):
            return [*dict.fromkeys(column for template in templates for column in template.columns), *self.images]
        return [self.task.column]
