"""Decoding lines fast and decoding them carefully give the same."""

import gzip
import json
import time
import zlib
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.exceptions import ComputeError

from bedrock_assets.families import FAMILIES
from bedrock_assets.outputs.jsonlines import decode, decode_line_by_line, split_lines, without_input
from tests.labs.stages import jsonl

SCHEMA = {"recordId": pl.String(), "modelOutput": FAMILIES["anthropic"].output}
OUTPUT = {"content": [{"type": "text", "text": "fine"}], "stop_reason": "end_turn"}

names = st.sampled_from(["modelOutput", "recordId", "error", "text", '"modelOutput": {', '\\"recordId\\"', "é\n"])
inputs = st.recursive(
    st.one_of(names, st.text(max_size=5), st.integers(0, 9), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3)),
    max_leaves=6,
)


@given(made=st.lists(st.tuples(inputs, st.permutations(["recordId", "modelInput", "modelOutput"])), min_size=1))
def test_inputs_are_skipped_safely(made: list[tuple[Any, list[str]]]) -> None:
    """Whatever a prompt holds, and in whichever order the keys stand, id and answer are the line's own."""
    values = [
        {"recordId": f"r{i}", "modelInput": prompt, "modelOutput": {**OUTPUT, "stop_reason": f"s{i}"}}
        for i, (prompt, _) in enumerate(made)
    ]
    lines = [{key: value[key] for key in order} for value, (_, order) in zip(values, made, strict=True)]
    frame = decode(jsonl(lines), SCHEMA, skip_input=True)
    assert frame is not None
    assert frame["recordId"].to_list() == [f"r{i}" for i in range(len(made))]
    assert frame["modelOutput"].struct.field("stop_reason").to_list() == [f"s{i}" for i in range(len(made))]


@st.composite
def odd_lines(draw: st.DrawFn) -> bytes:
    """A line as Bedrock writes it, or with one thing that is not so: how it begins, a second id, an error, a half."""
    said = draw(st.sampled_from(["fine", "\ud83d", "\U0001f600", '"recordId"', "é"]))
    members = {"recordId": "a", "modelInput": draw(inputs), "modelOutput": {**OUTPUT, "stop_reason": said}}
    told = json.dumps(members | draw(st.sampled_from([{}, {}, {"error": None}])))
    start, end = draw(st.sampled_from([("", ""), ("", ""), (" ", ""), ("", " \r")]))
    told = told.replace('{"recordId"', draw(st.sampled_from(['{"recordId"', '{"x": 1, "recordId"'])), 1)
    return f"{start}{told}{end}".encode()


@given(lines=st.lists(odd_lines(), min_size=1, max_size=4))
def test_lines_are_read_alike_with_and_without_their_inputs(lines: list[bytes]) -> None:
    """What is skipped, and by which way, changes nothing of what is read; nor does one odd line for the others."""
    content = b"\n".join(lines) + b"\n"
    frame = decode(content, SCHEMA, skip_input=True)
    assert frame is not None
    assert frame.equals(decode(content, SCHEMA))
    alone = [decode(line + b"\n", SCHEMA) for line in lines]
    assert frame.equals(pl.concat([one for one in alone if one is not None]))


def test_prompts_are_left_out() -> None:
    """What is decoded of an ordinary line does not hold its prompt, before or after the id."""
    told = {"recordId": "a", "modelInput": {"text": "long"}, "modelOutput": {"x": 1}}
    for order in (["recordId", "modelInput", "modelOutput"], ["modelInput", "modelOutput", "recordId"]):
        short = without_input(split_lines(jsonl([{key: told[key] for key in order}])))["line"].item()
        assert json.loads(short) == {"recordId": "a", "modelOutput": {"x": 1}}


@pytest.mark.parametrize(
    "line",
    [
        '{"recordId": "a", "modelInput": {"x{"recordId": "b", "modelOutput": {}}',
        '{"recordId": "a", "modelInput": {"x": "modelOutput", "y": {}}',
        '{"recordId": "a", "modelOutput": {}} {"recordId": "b"}',
        '{"recordId": "a", "modelOutput": {}',
    ],
)
def test_broken_lines_are_no_answers(line: str) -> None:
    """Two lines run together, or one that is cut, are told as bad and give nobody an answer."""
    assert decode(line.encode() + b"\n", SCHEMA, skip_input=True) is None


@pytest.mark.parametrize("value", [5, "x", [1], {"content": "x"}, {"content": ["x"]}, {"content": [{"text": {}}]}])
def test_other_types_are_nulls(value: Any) -> None:
    """A value of another type than the schema's is null in its place, and the other lines are read."""
    frame = decode(jsonl([{"recordId": "a", "modelOutput": value}, {"recordId": "b"}]), SCHEMA, skip_input=True)
    assert frame is not None
    assert frame["recordId"].to_list() == ["a", "b"]


PACKED = {"gzip": gzip.compress(b"{}\n" * 9), "zlib": zlib.compress(b"{}\n" * 9), "zstd": b"(\xb5/\xfd rest"}


@pytest.mark.parametrize("packed", PACKED.values(), ids=PACKED)
def test_nothing_is_unpacked(packed: bytes) -> None:
    """Data that is compressed is no JSON, and costs no more than its own size; lines beside it are read."""
    assert decode(packed, SCHEMA) is None
    with pytest.raises(ComputeError):
        split_lines(packed)
    texts = [b'{"recordId": "a"}', packed.replace(b"\n", b""), b'{"recordId": "b"}']
    assert decode_line_by_line(texts, SCHEMA)["recordId"].to_list() == ["a", None, "b"]


DAMAGE = {
    "every second": [b'{"recordId": "a", "modelOutput": {' + b"}}" * (i % 2) for i in range(20_000)],
    "a brace": [b"{"] * 300_000,
    "too deep": [b'{"recordId": "a", "x": ' + b"[" * 3_000 + b"]" * 3_000 + b"}", b'{"recordId": "b"}'] * 500,
    "nested": [b'{"recordId": "a", "x": ' + b"[" * 150 + b"]" * 150 + b"}", b"{"] * 500,
}
FIRST = {"every second": [None, "a"], "a brace": [None, None], "too deep": [None, "b"], "nested": ["a", None]}


@pytest.mark.parametrize("name", DAMAGE)
def test_time_is_linear_whatever_is_broken(name: str) -> None:
    """Where thousands of lines are broken, each is read once: in seconds, where halving them took minutes."""
    started = time.monotonic()
    frame = decode_line_by_line(DAMAGE[name], SCHEMA)
    assert time.monotonic() - started < 20
    assert frame["recordId"].to_list() == FIRST[name] * (len(DAMAGE[name]) // 2)


@pytest.mark.parametrize("value", [5, "x", [1], {"content": "x"}, {"content": ["x"]}, OUTPUT])
def test_line_by_line_reads_as_all_at_once(value: Any) -> None:
    """Among broken lines, and lines that polars finds too deep, the others are read as they are alone."""
    lines = jsonl([{"recordId": "a", "modelOutput": value}, {"recordId": "b"}]).splitlines()
    expected = decode(b"\n".join(lines), SCHEMA)
    assert expected is not None
    assert decode_line_by_line([*lines, b"{"], SCHEMA).head(2).equals(expected)
    shown = decode_line_by_line([*lines, b"{", b'{"x": ' + b"[" * 150 + b"]" * 150 + b"}"], SCHEMA).head(2)
    assert shown["recordId"].to_list() == ["a", "b"]


def test_half_a_character_is_replaced() -> None:
    """A lone surrogate in an answer is U+FFFD; a pair, and a backslash before a u, stay as they are."""
    said = r"cut \\ud83d \ud83d\ude00 \ud83d! \ude00"
    line = '{"recordId": "a", "modelOutput": {"stop_reason": "' + said + '"}}'
    frame = decode(line.encode() + b"\n", SCHEMA, skip_input=True)
    assert frame is not None
    assert frame["modelOutput"].struct.field("stop_reason").item() == "cut \\ud83d \U0001f600 \ufffd! \ufffd"
