"""
Prompt templates: `{column}` placeholders, `{{` and `}}` for literal braces, rendered by polars.

A template is data, never code. A placeholder is a column name and nothing else: attribute access, indexing, conversions
and format specifications are refused when the template is read. A name with other characters than letters, digits,
`_`, `-` and spaces is quoted in backticks, where a backtick is doubled: {`net price (EUR)`}.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from bedrock_assets.columns import column as exactly
from bedrock_assets.config.task import literal
from bedrock_assets.errors import PromptError
from bedrock_assets.families import Family
from bedrock_assets.pipeline.ids import holds_binary
from bedrock_assets.pipeline.moments import moment_text, within_calendar

SHIPPED = Path(__file__).parent.parent / "prompts"
_COLUMN = re.compile(r"(?!__)\w[\w \-]*")
_QUOTED = r"`(?:[^`]|``)*`"
_TOKEN = re.compile(r"\{\{|\}\}|\{(?P<quoted>" + _QUOTED + r")\}|\{(?P<name>[^{}\n]*)\}|[{}]")


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
                    f"{', '.join(available)}. Correct the placeholder, or write {{{placeholder(column)}}} for literal "
                    "braces."
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
    Parse a template: column names in braces, and text.

    Raises:
        PromptError: An unmatched brace, an empty placeholder, or anything but a column name in one.
    """
    literals, columns, position = [""], [], 0
    for token in _TOKEN.finditer(text):
        literals[-1] += text[position : token.start()]
        position = token.end()
        if token[0] in ("{{", "}}"):
            literals[-1] += token[0][0]
            continue
        columns.append(_column(_where(text, token.start(), name), token))
        literals.append("")
    literals[-1] += text[position:]
    return Template(name, text, tuple(literals), tuple(columns))


def placeholder(column: str) -> str:
    """The placeholder for a column, quoted if the name needs it."""
    return f"{{{column}}}" if _COLUMN.fullmatch(column) else f"{{`{column.replace('`', '``')}`}}"


def _where(text: str, position: int, name: str) -> str:
    return f"prompt {name!r}, line {text.count(chr(10), 0, position) + 1}"


def _column(where: str, token: re.Match[str]) -> str:
    """The column that a placeholder names, if it is one and nothing else."""
    if token["quoted"]:
        return token["quoted"][1:-1].replace("``", "`")
    field = token["name"]
    if field is None:
        raise PromptError(f"{where}: a lone {token[0]!r}; write {token[0] * 2!r} for a literal brace")
    if not _COLUMN.fullmatch(field):
        raise PromptError(
            f"{where}: {field!r} is not a column name; attribute access, indexing, conversions and format "
            "specifications are not allowed. Write {column}, or {`column`} if its name has other characters than "
            "letters, digits, `_`, `-` and spaces, or double the braces for literal text."
        )
    return field


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
    for key, value in fill.items():
        if value and key not in template.columns:
            raise PromptError(
                f"prompt {name!r} has no placeholder {{{key}}} to fill; it has: "
                f"{', '.join(sorted(set(template.columns))) or 'none'}"
            )
    first, *others = map(literal, template.literals)
    values = (fill.get(column, placeholder(column)) for column in template.columns)
    return first + "".join(value + other for value, other in zip(values, others, strict=True))


def as_text(column: str, dtype: pl.DataType) -> pl.Expr:
    """
    A column as prompt text: JSON for nested values, null for float NaN, polars's own text for everything else.

    Raises:
        PromptError: The column holds bytes.
    """
    value = exactly(column)
    if dtype == pl.String:
        return value
    if holds_binary(dtype):
        raise PromptError(f"column {column!r} holds bytes ({dtype}), which are not text; remove it from the prompt")
    if dtype == pl.Time:
        return value.dt.to_string("iso")
    if dtype.is_temporal():
        inside = within_calendar(value, dtype)
        return moment_text(value, dtype, inside.dt.to_string("iso") if dtype == pl.Duration else inside.cast(pl.String))
    if dtype.is_nested():
        encoded = pl.struct(v=within_calendar(value, dtype)).struct.json_encode()
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
