"""
Prompt templates: `{column}` placeholders, `{{` and `}}` for literal braces, rendered by polars.

A template is data, never code: a placeholder is a column name and nothing else, so attribute access,
indexing, conversions and format specifications are refused when the template is read.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from bedrock_assets.errors import PromptError
from bedrock_assets.families import Family
from bedrock_assets.pipeline.ids import holds_binary

SHIPPED = Path(__file__).parent.parent / "prompts"
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}\n]*)\}|[{}]")
_COLUMN = re.compile(r"\w[\w \-]*")


@dataclass(frozen=True)
class Template:
    """A parsed prompt: `literals[0] column[0] literals[1] column[1] ... literals[n]`."""

    name: str
    """Prompt id, or the YAML key the text stands under; used in messages."""
    text: str
    literals: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Hex digest of the template's text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def check(self, available: list[str]) -> None:
        """
        Raises:
            PromptError: A placeholder names a column that is not among *available*.
        """
        for column in self.columns:
            if column not in available:
                raise PromptError(
                    f"column {column!r} named in prompt {self.name!r} is not in the dataset; it has: "
                    f"{', '.join(available)}. Correct the placeholder, or write {{{{{column}}}}} for literal braces."
                )

    def render(self, schema: pl.Schema, null_default: str | None = None) -> pl.Expr:
        """
        Args:
            schema: Column dtypes of the frame the expression will run on.
            null_default: Text for a null; without it a null in any placeholder makes the prompt null.

        Returns:
            String expression, the prompt of each row.
        """
        parts = [pl.lit(self.literals[0])]
        for column, literal in zip(self.columns, self.literals[1:], strict=True):
            value = as_text(column, schema[column])
            parts.append(value if null_default is None else value.fill_null(null_default))
            parts.append(pl.lit(literal))
        return pl.concat_str(parts)


def parse_template(text: str, name: str) -> Template:
    """
    Raises:
        PromptError: An unmatched brace, an empty placeholder, or anything in one beyond a column name.
    """
    literals, columns, literal, end = [], [], "", 0
    for token in _TOKEN.finditer(text):
        literal += text[end : token.start()]
        end = token.end()
        if token[0] in ("{{", "}}"):
            literal += token[0][0]
            continue
        literals.append(literal)
        columns.append(_column(token, text, name))
        literal = ""
    return Template(name, text, (*literals, literal + text[end:]), tuple(columns))


def load_template(prompt_id: str, folder: Path, fill: Mapping[str, str] | None = None) -> Template:
    """
    Read `<prompt_id>.txt` from the pipeline's *folder* or, failing that, from the prompts that ship.

    Args:
        fill: Templates that stand for placeholders.

    Raises:
        PromptError: There is no such file, or it does not parse.
    """
    for path in (folder / f"{prompt_id}.txt", SHIPPED / f"{prompt_id}.txt"):
        if path.is_file():
            return read_template(path, prompt_id, fill)
    known = sorted({path.stem for place in (folder, SHIPPED) for path in place.glob("*.txt")})
    raise PromptError(
        f"prompt_id {prompt_id!r} has no file {prompt_id}.txt in {folder} or {SHIPPED}; "
        f"known prompts: {', '.join(known) or 'none'}"
    )


def read_template(path: Path, name: str, fill: Mapping[str, str] | None = None) -> Template:
    """
    Raises:
        PromptError: The file cannot be read as UTF-8, or the template does not parse.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"prompt {name!r}: {path} cannot be read as UTF-8 text: {error}") from error
    return parse_template(filled(text, fill or {}, name).strip(), name)


def filled(text: str, fill: Mapping[str, str], name: str) -> str:
    """
    A template with others in place of some of its placeholders.

    Raises:
        PromptError: There is no such placeholder to put something in.
    """
    there = {token[1] for token in _TOKEN.finditer(text)}
    for placeholder, value in fill.items():
        if value and placeholder not in there:
            raise PromptError(
                f"prompt {name!r} has no placeholder {{{placeholder}}} to fill; it has: "
                f"{', '.join(sorted(filter(None, there))) or 'none'}"
            )
    return _TOKEN.sub(lambda token: fill.get(token[1] or "", token[0]), text)


def as_text(column: str, dtype: pl.DataType) -> pl.Expr:
    """
    A column as prompt text: JSON for nested values, null for float NaN, polars's own text for the rest.

    Raises:
        PromptError: The column holds bytes, which are no text.
    """
    value = pl.col(column)
    if dtype == pl.String:
        return value
    if holds_binary(dtype):
        raise PromptError(f"column {column!r} holds bytes ({dtype}), which are no text; leave it out of the prompt")
    if dtype == pl.Duration:
        return value.dt.to_string("iso")
    if dtype.is_nested():
        encoded = pl.struct(v=value).struct.json_encode()
        return pl.when(value.is_not_null()).then(encoded.str.slice(len('{"v":')).str.head(-1))
    return (value.fill_nan(None) if dtype.is_float() else value).cast(pl.String)


def _column(token: re.Match[str], text: str, name: str) -> str:
    field = token[1]
    line = text.count("\n", 0, token.start()) + 1
    if field is None:
        raise PromptError(
            f"prompt {name!r}, line {line}: a lone {token[0]!r}; write {token[0] * 2!r} for a literal brace"
        )
    if not _COLUMN.fullmatch(field) or field.startswith("__"):
        raise PromptError(
            f"prompt {name!r}, line {line}: {token[0]!r} is not a column name; attribute access, indexing and "
            "format specifications are not allowed. Write {column}, or double the braces for literal text."
        )
    return field


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
