"""What is asked beside the prompt's own words, and which rows cannot be asked about."""

import json
from collections.abc import Mapping
from typing import Any

import polars as pl

from bedrock_assets.errors import PromptError
from bedrock_assets.families import Family
from bedrock_assets.templates import Template


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


def require_no_tokens(template: Template | None, family: Family) -> None:
    """
    Raises:
        PromptError: A template has a token of the model's own chat template, which the family writes itself.
    """
    if template is None or family.special is None:
        return
    found = pl.select(pl.lit(template.text).str.extract(family.special, 0)).item()
    if found is not None:
        raise PromptError(
            f"prompt {template.name!r} has {found!r}, a token of the chat template of family {family.name}; write the "
            "words alone, the turns are put around them"
        )


def split_tokens(text: pl.Expr, family: Family) -> pl.Expr:
    """*text* with a space after the first character of each token of the chat template: ordinary text then."""
    return text if family.special is None else text.str.replace_all(family.special, "$1 $2")


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
