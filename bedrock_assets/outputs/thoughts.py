"""
Cuts a model's thoughts off its answers, and finds answers that a limit on tokens cut off before they began.

Such a row has no answer, whatever text it has. The same settings would give the same again, so it is not sent again by
itself: a larger `max_tokens`, or less effort, makes another record of it.
"""

import polars as pl

from bedrock_assets.families import Family

TRUNCATED = "truncated"
_TAGGED = r"(?s)^\s*(?:<think>.*?</think>\s*|<reasoning>.*?</reasoning>\s*)+"
_OPENED = r"(?s)^.*?</think>\s*"
_TOO_LONG = "model_context_window_exceeded"


def without_thoughts(read: pl.DataFrame, family: Family) -> pl.DataFrame:
    """
    Cut off thoughts, and make answers that were cut before they began errors with code `truncated`.

    Args:
        read: `response`, `stop_reason`, `error_code`, `error_message`, all String, and `output_tokens` Int64.

    Returns:
        *read* with `response` null in such rows.
    """
    cut = _limited(read, family)
    if family.thoughts == "opened" or (family.thoughts and _begins(read["response"], "<").any()):
        read, unclosed = _cut(read, family)
        cut = cut | unclosed
    elif not cut.any():
        return read
    silent = (read["response"].fill_null("").str.strip_chars() == "") & read["error_code"].is_null()
    return _truncated(read, cut & silent)


def began(answers: pl.DataFrame, family: Family) -> pl.Series:
    """
    Whether each of the *answers* that were kept, possibly by an earlier version, is one.

    Args:
        answers: `response` and `stop_reason`, both String.
    """
    read, cut = answers.select("response", "stop_reason"), _limited(answers, family)
    if family.thoughts:
        read, unclosed = _cut(read, family)
        cut = cut | unclosed
    return ~(cut & (read["response"].fill_null("").str.strip_chars() == ""))


def _begins(texts: pl.Series, mark: str) -> pl.Series:
    return texts.str.strip_chars_start().str.starts_with(mark)


def _limited(read: pl.DataFrame, family: Family) -> pl.Series:
    """Whether a limit on tokens ended each text."""
    return read["stop_reason"].is_in(list(family.truncated)).fill_null(value=False)


def _cut(read: pl.DataFrame, family: Family) -> tuple[pl.DataFrame, pl.Series]:
    """*read* without thoughts, null where they have no end; and for each row whether that is so, Boolean."""
    text = pl.col("response")
    if family.thoughts == "opened":
        # Without a limit that ended it, a text without thoughts is an answer.
        unclosed, shown = (
            ~text.str.contains("</think>", literal=True) & _limited(read, family),
            text.str.replace(_OPENED, ""),
        )
    else:
        shown = text.str.replace(_TAGGED, "")
        bare = shown.str.strip_chars_start()
        unclosed = bare.str.starts_with("<think>") | bare.str.starts_with("<reasoning>")
    flags = read.select(unclosed.fill_null(value=False)).to_series()
    return read.with_columns(response=pl.when(~flags).then(shown)), flags


def _truncated(read: pl.DataFrame, rows: pl.Series) -> pl.DataFrame:
    if not rows.any():
        return read
    tokens = pl.col("output_tokens").cast(pl.String).fill_null("an unknown number of")
    cure = (
        pl.when(pl.col("stop_reason").eq_missing(_TOO_LONG))
        .then(pl.lit("shorten the prompt"))
        .otherwise(pl.lit("raise max_tokens, or let the model think less (a lower effort)"))
    )
    message = pl.format(
        "the answer was cut off before it began, after {} output tokens of max_tokens (stop reason {}): {}. It is not "
        "sent again with the same settings",
        tokens,
        pl.col("stop_reason").fill_null("not told"),
        cure,
    )
    return read.with_columns(
        response=pl.when(~rows).then("response"),
        error_code=pl.when(rows).then(pl.lit(TRUNCATED)).otherwise("error_code"),
        error_message=pl.when(rows).then(message).otherwise("error_message"),
    )
