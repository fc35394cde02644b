"""JSON with columns in it: the text is what `json.dumps` would write of each row's values."""

import json
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from bedrock_assets.families.json_template import Plain, encoded

TEXTS = ['a "quote"\n\\', "\u0085 \u2028 漢字 🙂", "", '{"v":1}', "}"]
names = st.text(max_size=5)
trees = st.recursive(
    st.one_of(
        st.just("COLUMN"), st.booleans(), st.integers(-(2**60), 2**60), st.floats(-1e6, 1e6), st.text(max_size=9)
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=4)),
    max_leaves=12,
)


def filled(tree: Any, value: Any) -> Any:
    """*tree* with *value* in place of its marked strings."""
    if tree == "COLUMN":
        return value
    if isinstance(tree, list):
        return [filled(one, value) for one in tree]
    return {name: filled(one, value) for name, one in tree.items()} if isinstance(tree, dict) else tree


@given(tree=trees)
def test_the_text_is_plain_json(tree: Any) -> None:
    """Whatever the JSON, constants and columns at any depth: byte for byte what the standard library writes."""
    rows = pl.DataFrame({"text": TEXTS})
    made = rows.select("text", line=encoded(filled(tree, pl.col("text"))))["line"]
    assert made.to_list() == [
        json.dumps(filled(tree, text), ensure_ascii=False, separators=(",", ":")) if "COLUMN" in repr(tree) else made[0]
        for text in TEXTS
    ]
    assert json.loads(made[0]) == filled(tree, TEXTS[0])


def test_what_has_no_value_is_left_out() -> None:
    """A member that is None is left out, an item that is None is a null, base64 is written as it is."""
    tree = {"a": None, "b": [None, 1], "c": {"d": None}, "e": Plain(pl.col("x"))}
    made = pl.DataFrame({"x": ["QUI=", None]}).select(encoded(tree)).to_series()
    assert made.to_list() == ['{"b":[null, 1],"c":{},"e":"QUI="}'.replace(", ", ","), None]
