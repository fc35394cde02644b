"""
Prompt templates: `{column}` placeholders, `{{` and `}}` for literal braces, rendered by polars.

A template is data, never code. A placeholder is a column name and nothing else: attribute access, indexing, conversions
and format specifications are refused when the template is read.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from string import Formatter

import polars as pl

from bedrock_assets.config.task import literal
from bedrock_assets.errors import PromptError
from bedrock_assets.families import Family
from bedrock_assets.pipeline.ids import holds_binary

SHIPPED = Path(__file__).parent.parent / "prompts"
_COLUMN = re.compile(r"\w[\w \-]*")


@dataclass(frozen=True)
class Template:
    """A parsed prompt: `literals[0] column[0] literals[1] column[1] ... literals[n]`."""

    name: str
    """Prompt id, or the YAML key of the text; used in messages."""
    text: str
    literals: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Hex digest of the template's text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def check(self, available: list[str]) -> None:
        """
        Check that all columns exist.

        Raises:
            PromptError: A placeholder names a column that is not in *available*.
        """
        for column in self.columns:
            if column not in available:
                raise PromptError(
                    f"column {column!r} named in prompt {self.name!r} is not in the dataset; it has: "
                    f"{', '.join(available)}. Correct the placeholder, or write {{{{{column}}}}} for literal braces."
                )

    def render(self, schema: pl.Schema, null_default: str | None = None) -> pl.Expr:
        """
        The prompt of each row, as an expression.

        Args:
            schema: Column dtypes of the frame that the expression will run on.
            null_default: Text for a null; without it a null in any placeholder makes the prompt null.

        Returns:
            String expression.
        """
        parts = [pl.lit(self.literals[0])]
        for column, after in zip(self.columns, self.literals[1:], strict=True):
            value = as_text(column, schema[column])
            parts.append(value if null_default is None else value.fill_null(null_default))
            parts.append(pl.lit(after))
        return pl.concat_str(parts)


def parse_template(text: str, name: str) -> Template:
    """
    Parse a template as `str.format` would, but allow nothing except column names in braces.

    Raises:
        PromptError: An unmatched brace, an empty placeholder, or anything but a column name in one.
    """
    literals, columns = [""], []
    # Line by line, because no placeholder spans lines and Formatter does not say where an error is.
    for number, line in enumerate(StringIO(text), 1):
        where = f"prompt {name!r}, line {number}"
        try:
            pieces = list(Formatter().parse(line))
        except ValueError as error:
            raise _lone_brace(where, "}" if str(error).startswith("Single '}'") else "{") from error
        for before, field, spec, conversion in pieces:
            literals[-1] += before
            if field is not None:
                columns.append(_column(where, field, spec, conversion))
                literals.append("")
    return Template(name, text, tuple(literals), tuple(columns))


def _column(where: str, field: str, spec: str | None, conversion: str | None) -> str:
    """The field of a placeholder, if it is a column name and nothing else."""
    if spec and "{" in spec:
        raise _lone_brace(where, "{")
    if spec or conversion or not _COLUMN.fullmatch(field) or field.startswith("__"):
        raise PromptError(
            f"{where}: {field!r} is not a column name; attribute access, indexing, conversions and format "
            "specifications are not allowed. Write {column}, or double the braces for literal text."
        )
    return field


def _lone_brace(where: str, brace: str) -> PromptError:
    return PromptError(f"{where}: a lone {brace!r}; write {brace * 2!r} for a literal brace")


def load_template(prompt_id: str, folder: Path, fill: Mapping[str, str] | None = None) -> Template:
    """
    Read `<prompt_id>.txt` from the pipeline's *folder* or else from the prompts that ship with the package.

    Args:
        fill: Templates to put in place of placeholders.

    Raises:
        PromptError: There is no such file, or it does not parse.
    """
    for path in (folder / f"{prompt_id}.txt", SHIPPED / f"{prompt_id}.txt"):
        if path.is_file():
            return read_template(path, prompt_id, fill)
    known = sorted({path.stem for parent in (folder, SHIPPED) for path in parent.glob("*.txt")})
    raise PromptError(
        f"prompt_id {prompt_id!r} has no file {prompt_id}.txt in {folder} or {SHIPPED}; "
        f"known prompts: {', '.join(known) or 'none'}"
    )


def read_template(path: Path, name: str, fill: Mapping[str, str] | None = None) -> Template:
    """
    Read a template from a file; whitespace at both ends is stripped.

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
    A template with other templates in place of some of its placeholders.

    Raises:
        PromptError: The template does not parse, or has no such placeholder.
    """
    if not fill:
        return text
    template = parse_template(text, name)
    for placeholder, value in fill.items():
        if value and placeholder not in template.columns:
            raise PromptError(
                f"prompt {name!r} has no placeholder {{{placeholder}}} to fill; it has: "
                f"{', '.join(sorted(set(template.columns))) or 'none'}"
            )
    first, *others = map(literal, template.literals)
    values = (fill.get(column, f"{{{column}}}") for column in template.columns)
    return first + "".join(value + other for value, other in zip(values, others, strict=True))


def as_text(column: str, dtype: pl.DataType) -> pl.Expr:
    """
    A column as prompt text: JSON for nested values, null for float NaN, polars's own text for everything else.

    Raises:
        PromptError: The column holds bytes.
    """
    value = pl.col(column)
    if dtype == pl.String:
        return value
    if holds_binary(dtype):
        raise PromptError(f"column {column!r} holds bytes ({dtype}), which are not text; remove it from the prompt")
    if dtype == pl.Duration:
        return value.dt.to_string("iso")
    if dtype.is_nested():
        encoded = pl.struct(v=value).struct.json_encode()
        return pl.when(value.is_not_null()).then(encoded.str.slice(len('{"v":')).str.head(-1))
    return (value.fill_nan(None) if dtype.is_float() else value).cast(pl.String)


def require_no_tokens(template: Template | None, family: Family) -> None:
    """
    Refuse templates with tokens of the model's chat template, which the family writes itself.

    Raises:
        PromptError: The template has such a token.
    """
    if template is None or family.special is None:
        return
    token = pl.select(pl.lit(template.text).str.extract(family.special, 0)).item()
    if token is not None:
        raise PromptError(
            f"prompt {template.name!r} has {token!r}, a token of the chat template of family {family.name}; write only "
            "the text, the turns are added around it"
        )


def split_tokens(text: pl.Expr, family: Family) -> pl.Expr:
    """*text* with a space inside each token of the chat template, which makes it ordinary text."""
    return text if family.special is None else text.str.replace_all(family.special, "$1 $2")
