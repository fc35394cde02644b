"""
What rows without an answer say, wherever they say it: errors in any place and shape, or output that is not understood.

Only such rows are looked at here, one by one. What is quoted is always output: the line of a record begins with its
request, which is personal data and explains nothing.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from pydantic_core import from_json

from bedrock_assets.families import Family
from bedrock_assets.sources.json_lines import whole_characters

RAW_CHARS = 500
"""Characters of output that is not understood, in the error message."""
UNRECOGNISED, SEVERAL, ERROR = "unrecognised_output", "several_answers", "model_error"
MAX_DEPTH = 4
"""Objects within objects that are searched for an error."""
_INPUT = ("recordId", "modelInput")


@dataclass(frozen=True)
class Explanation:
    """Why a row has no answer."""

    error_code: str
    error_message: str
    retryable: bool | None = None
    """None if the output does not say."""
    expired: bool = False
    """Bedrock ended the job before it reached the record: it is unanswered, and did not fail."""


def explain(read: pl.DataFrame, rows: pl.Expr, lines: Sequence[bytes], family: Family) -> pl.DataFrame:
    """
    Fill the errors of *rows*, a Boolean expression, from the lines they are from; those that expired are left out.

    Args:
        read: `line` (position in *lines*), `error_code`, `error_message`, `retryable`.
        lines: The output lines, blank ones left out.
    """
    found = read.filter(rows)["line"].to_list()
    told = [explanation(lines[i], family) for i in found]
    columns = {
        "line": pl.Series(found, dtype=read.schema["line"]),
        "code": pl.Series([one.error_code for one in told], dtype=pl.String),
        "message": pl.Series([one.error_message for one in told], dtype=pl.String),
        "may_pass": pl.Series([one.retryable for one in told], dtype=pl.Boolean),
        "is_expired": pl.Series([one.expired for one in told], dtype=pl.Boolean),
    }
    joined = read.join(pl.DataFrame(columns), on="line", how="left", maintain_order="left")
    return (
        joined.filter(~pl.col("is_expired").fill_null(value=False))
        .with_columns(
            error_code=pl.coalesce("code", "error_code"),
            error_message=pl.coalesce("message", "error_message"),
            retryable=pl.coalesce("may_pass", "retryable"),
        )
        .drop("code", "message", "may_pass", "is_expired")
    )


def explanation(line: bytes, family: Family) -> Explanation:
    """Why the record of an output line has no answer."""
    record = json_of(line)
    if not isinstance(record, Mapping):
        return Explanation(UNRECOGNISED, "the line is not a JSON object")
    output = record.get("modelOutput")
    rest = {name: value for name, value in record.items() if name not in (*_INPUT, "modelOutput")}
    for place in (rest, output):
        for candidate in _objects(place):
            if error := _error(candidate, is_outer=candidate is place):
                return error
    n_vectors = _n_vectors(output) if family.kind == "embedding" else 1
    if n_vectors > 1:
        return Explanation(SEVERAL, f"the output has {n_vectors} vectors for one record; send one text in each record")
    shown = {"modelOutput": output, **rest} if output is None else output
    return Explanation(UNRECOGNISED, json.dumps(shown, ensure_ascii=False)[:RAW_CHARS])


def json_of(line: bytes) -> Any:
    """The JSON value of a line; None if there is none."""
    try:
        return from_json(whole_characters(line))
    except ValueError:
        return None


def _objects(value: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """The objects in *value*, outer ones first."""
    if depth > MAX_DEPTH:
        return
    if isinstance(value, Mapping):
        yield value
        for member in value.values():
            yield from _objects(member, depth + 1)
    elif isinstance(value, list):
        for item in value[:RAW_CHARS]:
            if isinstance(item, Mapping):
                yield from _objects(item, depth + 1)


def _error(found: Mapping[str, Any], *, is_outer: bool = True) -> Explanation | None:
    """
    An object as an error: Bedrock's own, a provider's under `error`, or a text under `message`; else None.

    Args:
        is_outer: Whether it is in no other object but an `error`; elsewhere a `message` may be anything.
    """
    inner = found.get("error")
    if isinstance(inner, str) and inner:
        return Explanation(_text(found.get("code")) or ERROR, inner, _flag(found, "retryable"))
    if isinstance(inner, Mapping) and inner:
        error = _error(inner)
        if error is None and (kind := _code(inner)):
            return Explanation(kind, json.dumps(inner, ensure_ascii=False)[:RAW_CHARS], _flag(inner, "retryable"))
        return error
    if (code := _text(found.get("errorCode"))) or found.get("errorMessage"):
        message = _text(found.get("errorMessage")) or "Bedrock gave no message"
        retryable, expired = _flag(found, "retryable"), _flag(found, "expired")
        return Explanation(code or ERROR, message, retryable, expired=bool(expired))
    message = found.get("message") or found.get("Message")
    if is_outer and isinstance(message, str) and message:
        return Explanation(_code(found) or ERROR, message, _flag(found, "retryable"), bool(_flag(found, "expired")))
    return None


def _code(error: Mapping[str, Any]) -> str | None:
    """How a provider names the kind of its error."""
    codes = (_text(error.get(name)) for name in ("code", "type", "__type"))
    return next((code for code in codes if code), None)


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def _flag(error: Mapping[str, Any], name: str) -> bool | None:
    return value if isinstance(value := error.get(name), bool) else None


def _n_vectors(output: Any) -> int:
    """Vectors in an output of Cohere's shape, by the type that has most."""
    vectors = output.get("embeddings") if isinstance(output, Mapping) else None
    lists = vectors.values() if isinstance(vectors, Mapping) else [vectors]
    return max((len(one) for one in lists if isinstance(one, list)), default=0)
