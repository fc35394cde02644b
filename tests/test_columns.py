"""No column name is a pattern, and no name that is not ours reaches polars as one."""

import ast
from pathlib import Path

import polars as pl
import pytest

import bedrock_assets
from bedrock_assets.columns import all_but, column, columns, fields

PACKAGE = Path(bedrock_assets.__file__).parent
NAMES = ["*", "^.*$", "", "a.b", "__line", "text"]
OURS = ("columns.py", "emulator/")


@pytest.mark.parametrize("name", NAMES)
def test_exact_names(name: str) -> None:
    """Each name is one column, or one field, whatever it means to polars."""
    frame = pl.DataFrame({known: [i] for i, known in enumerate(NAMES)})
    assert frame.select(column(name)).to_dict(as_series=False) == {name: [NAMES.index(name)]}
    assert frame.select(columns([name, "text"] if name != "text" else [name])).columns[0] == name
    assert frame.select(all_but([name])).columns == [known for known in NAMES if known != name]
    struct = frame.select(pl.struct(columns(NAMES)).alias("s"))
    dtype = struct.schema["s"]
    assert isinstance(dtype, pl.Struct)
    assert struct.select(fields(pl.col("s"), dtype)[name]).to_dict(as_series=False) == {name: [NAMES.index(name)]}


def test_polars_gets_only_our_own_names(subtests: pytest.Subtests) -> None:
    """`pl.col` and `struct.field` take names that are written in the code; all others go through `columns.py`."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = str(path.relative_to(PACKAGE))
        if not module.startswith(OURS):
            with subtests.test(module=module):
                _require_literal_names(path)


def _require_literal_names(path: Path) -> None:
    for call in (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)):
        called = ast.unparse(call.func)
        if called not in ("pl.col", "pl.exclude") and not called.endswith("struct.field"):
            continue
        for argument in call.args:
            name = ast.unparse(argument)
            ours = (
                isinstance(argument, ast.Constant)
                or name.isupper()
                or name.startswith(("f'base64_", "f'format_", "f'document_"))
            )
            assert ours or (path.name, name) == ("base.py", "name"), f"line {call.lineno}: {called}({name})"
