"""Prompt templates are data: column names in braces, and nothing else."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_assets.errors import PromptError
from bedrock_assets.pipeline.templates import SHIPPED, load_template, parse_template, placeholder


def rendered(text: str, frame: pl.DataFrame, null_default: str | None = None) -> list[str | None]:
    """The prompts that a template makes of a frame's rows."""
    template = parse_template(text, "greeting")
    return frame.with_columns(template.render(frame.schema, null_default).alias("prompt"))["prompt"].to_list()


literals = st.text(alphabet=st.one_of(st.characters(codec="utf-8"), st.sampled_from('{}\n"\\'))).map(
    lambda text: text.replace("{", "{{").replace("}", "}}")
)
columns = st.sampled_from(["a", "b c", "d-e", "é_1"])


@given(
    parts=st.lists(st.one_of(literals, columns.map("{{{}}}".format)), max_size=8),
    rows=st.lists(st.fixed_dictionaries({name: st.text() for name in ("a", "b c", "d-e", "é_1")}), min_size=1),
)
def test_rendering_is_str_format(parts: list[str], rows: list[dict[str, str]]) -> None:
    """Text columns are put in exactly as Python's `str.format` would, whatever the text, braces included."""
    text = "".join(parts)
    assert rendered(text, pl.DataFrame(rows)) == [text.format(**row) for row in rows]


def test_literal_braces() -> None:
    """JSON in a prompt is written with doubled braces, also around a placeholder."""
    frame = pl.DataFrame({"name": ["Ann"]})
    assert rendered('{{"name": "{name}"}} {{{name}}}', frame) == ['{"name": "Ann"} {Ann}']


def test_values_are_not_templates() -> None:
    """Braces in a row's value stay as they are."""
    assert rendered("{x}", pl.DataFrame({"x": ["{x} {{y}}"]})) == ["{x} {{y}}"]


@pytest.mark.parametrize(
    ("text", "line", "brace"),
    [("a {", 1, "{"), ("a\nb }", 2, "}"), ('\n\n{"a": {x}}', 3, "{"), ("{x\n}", 1, "{"), ("{x}}", 1, "}")],
)
def test_unmatched_braces(text: str, line: int, brace: str) -> None:
    """A lone brace is refused with its line and how to write it."""
    with pytest.raises(PromptError, match=rf"'greeting', line {line}: a lone '\{brace}'; write '\{brace}\{brace}'"):
        parse_template(text, "greeting")


@pytest.mark.parametrize(
    "field", ["x.__class__", "x[0]", "x!r", "x:>10", "", " x", "__x__", "x\\", "x;y", "x.y", "0.real", "x,y"]
)
def test_a_placeholder_is_a_column_name(field: str) -> None:
    """Attribute access, indexing, conversions and formats are refused when the template is read."""
    with pytest.raises(PromptError, match=r"line 2: .* is not a column name"):
        parse_template(f"Hi\n{{{field}}}", "greeting")


@pytest.mark.parametrize(
    "column",
    [*("a.b", "net/gross", "price (EUR)", "a+b", "{x}", "}", "", " ", "`", "a`b", "__line", "a\nb", "*", "x:y!z", "ü")],
)
def test_quoted_placeholders(column: str) -> None:
    """Any column can be named in backticks, in which a backtick is doubled; braces need nothing there."""
    frame, quoted = pl.DataFrame({column: ["value"]}), column.replace("`", "``")
    assert rendered(f"< {{`{quoted}`}} >", frame) == ["< value >"]
    assert rendered(placeholder(column), frame) == ["value"]


@given(column=st.text(), text=st.text(alphabet="a{}`\n"))
def test_a_quoted_placeholder_in_any_text(column: str, text: str) -> None:
    """Whatever is around it, a quoted placeholder is found, and nothing else is."""
    literal = text.replace("{", "{{").replace("}", "}}")
    template = parse_template(f"{literal}{{`{column.replace('`', '``')}`}}{literal}", "greeting")
    assert template.columns == (column,)
    assert template.literals == (text, text)


def test_what_is_filled_in_stays_quoted(tmp_path: Path) -> None:
    """Placeholders of a prompt that are not filled keep their quotes."""
    (tmp_path / "mine.txt").write_text("{text} {`a.b`}")
    assert load_template("mine", tmp_path, {"text": "{`c (d)`}"}).columns == ("c (d)", "a.b")


def test_a_missing_column() -> None:
    """A placeholder without a column is named, with the prompt and the columns that there are."""
    template = parse_template("About {topic}: {question}", "greeting")
    with pytest.raises(
        PromptError, match=r"'topic' named in prompt 'greeting' .* it has: question, answer\. .*\{\{topic"
    ):
        template.check(["question", "answer"])
    template.check(["question", "topic"])


def test_nulls_are_never_text() -> None:
    """A null, and a float that is no number, makes the prompt null, or becomes the default where one is set."""
    frame = pl.DataFrame({"f": [1.5, float("nan"), None], "s": ["a", "b", None]})
    assert rendered("{f}{s}", frame) == ["1.5a", None, None]
    assert rendered("{f} {s}", frame, null_default="(none)") == ["1.5 a", "(none) b", "(none) (none)"]


VALUES = [
    (pl.Series([7], dtype=pl.Int8), "7"),
    (pl.Series([True]), "true"),
    (pl.Series([date(2026, 11, 1)]), "2026-11-01"),
    (pl.Series([timedelta(hours=26)]), "P1DT2H"),
    (pl.Series(["low"], dtype=pl.Enum(["low"])), "low"),
    (pl.Series([[1, None]]), "[1,null]"),
    (pl.Series([[1, 2]], dtype=pl.Array(pl.Int64, 2)), "[1,2]"),
    (pl.Series([{"a": 1, "b": ['x"']}]), '{"a":1,"b":["x\\""]}'),
]


@pytest.mark.parametrize(("values", "expected"), VALUES, ids=lambda value: str(getattr(value, "dtype", "")))
def test_values_that_are_no_text(values: pl.Series, expected: str) -> None:
    """Every other value is written plainly, a nested one as JSON, and its null is a null."""
    frame = pl.DataFrame({"x": pl.concat([values, values.clear(1)])})
    assert rendered("{x}", frame) == [expected, None]


@pytest.mark.parametrize("dtype", [pl.Binary, pl.Struct({"bytes": pl.Binary, "path": pl.String}), pl.List(pl.Binary)])
def test_bytes_are_no_text(dtype: pl.DataType) -> None:
    """A column of bytes, as of images, is refused in a prompt by name."""
    with pytest.raises(PromptError, match=r"column 'x' holds bytes"):
        rendered("{x}", pl.DataFrame({"x": [None]}, schema={"x": dtype}))


def test_the_pipelines_folder_comes_first(tmp_path: Path) -> None:
    """A template beside the pipeline is taken before a shipped one of the same name, its ends stripped."""
    name = next(SHIPPED.glob("*.txt")).stem
    assert load_template(name, tmp_path).text == (SHIPPED / f"{name}.txt").read_text("utf-8").strip()
    (tmp_path / f"{name}.txt").write_text("\nMine: {x}\n", "utf-8")
    assert load_template(name, tmp_path).text == "Mine: {x}"


def test_an_unknown_prompt(tmp_path: Path) -> None:
    """A prompt without a file is refused with those that there are."""
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(
        PromptError, match=r"'other' has no file other.txt .* known prompts: classify, .*, mine, summarize"
    ):
        load_template("other", tmp_path)


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes("é".encode("latin-1")), lambda path: path.mkdir()])
def test_a_prompt_file_is_utf8(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    """A file in another encoding, or none at all, is no prompt."""
    spoil(tmp_path / "mine.txt")
    with pytest.raises(PromptError, match=r"mine"):
        load_template("mine", tmp_path)
