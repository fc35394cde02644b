"""The bad inputs: those that tests of one part hold already, and damage of every kind to what is good."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import yaml

from bedrock_assets.config.answer_schema import parse_schema
from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.families import FAMILIES
from bedrock_assets.pipeline.templates import parse_template
from tests.bad_inputs.attempts import (
    ROWS,
    Case,
    attached,
    call,
    code_location,
    command,
    dropped,
    output,
    source,
    stored,
)
from tests.config.test_answer_schema import REFUSED
from tests.inbox.test_rejections import CONTENTS
from tests.labs.stages import HAIKU, jsonl, ok, texts
from tests.pipeline.test_documents import FILES

ANSWERS = [
    json.loads(line) for line in Path(__file__).parents[1].joinpath("outputs", "answers.jsonl").open(encoding="utf-8")
]
DEFS: dict[str, Any] = {
    "name": "calls",
    "source": {"path": ROWS},
    "model": HAIKU,
    "task": {"text": {"prompt": "Say {text}"}},
}
WRONG: dict[str, Any] = {"a list": [[]], "a map": {"\u2028": None}, "a long text": "x" * 100_000, "a number": -1e308}
BROKEN_YAML: dict[str, str | bytes] = {
    "empty": "",
    "only a comment": "# nothing\n",
    "a text": "hello",
    "a list": "- a\n- b\n",
    "null": "~",
    "a tab": "type:\n\tx: 1\n",
    "an open bracket": "attributes: {name: [calls\n",
    "an open quote": 'attributes: "calls\n',
    "an unknown tag": "!!python/object/apply:os.system ['true']\n",
    "an unknown alias": "attributes: *nowhere\n",
    "an alias of itself": "attributes: &a [*a]\n",
    "aliases that multiply": "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nattributes: {name: *c}\n",
    "a key twice": "type: bedrock_assets.BatchInference\ntype: x\n",
    "a key that is a list": "? [a]\n: b\n",
    "no UTF-8": b"attributes: {name: \xff\xfe}\n",
    "UTF-16": "type: x\n".encode("utf-16"),
    "a NUL": b"attributes: {name: \x00}\n",
    "a control character": b"attributes: {name: \x1b[31m}\n",
    "nested deeply": "a: " + "[" * 3_000 + "]" * 3_000,
    "another component": "type: somebody.Else\nattributes: {}\n",
    "no attributes": "type: bedrock_assets.BatchInference\n",
    "attributes that are a text": "type: bedrock_assets.BatchInference\nattributes: x\n",
    "attributes that are a list": "type: bedrock_assets.BatchInference\nattributes: [1]\n",
    "a template that is open": "type: bedrock_assets.BatchInference\nattributes: {name: '{{ env'}\n",
    "a template that raises": "type: bedrock_assets.BatchInference\nattributes: {name: '{{ 1 / 0 }}'}\n",
}
TEMPLATES = (
    *(
        "{",
        "}",
        "{}",
        "{ x}",
        "{x.y}",
        "{x[0]}",
        "{x!r}",
        "{x:>9999999999}",
        "{x\n}",
        "{{{",
        "}}}",
        "{`}",
        "{``}",
        "{`x`",
    ),
    *("{x;y}", "{__class__}", "{0}", "{\ud83d}", "{x" * 5_000, "{" * 10_000, "`" * 10_000, "\0{\0}", "{x}}" * 1_000),
)
ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "white space": lambda _: b" \n\t\n",
    "zeros": lambda good: b"\0" * len(good),
    "half of it": lambda good: good[: len(good) // 2],
    "no end": lambda good: good[:-3],
    "something before": lambda good: b"\xff\xfe" + good,
    "something after": lambda good: good + b"\xff{",
    "in the middle": lambda good: good[: len(good) // 2] + b"\xff\0\xfe" + good[len(good) // 2 :],
    "compressed": gzip.compress,
    "compressed in part": lambda good: gzip.compress(good)[:-9],
    "UTF-16": lambda good: good.decode("latin-1").encode("utf-16"),
    "carriage returns": lambda good: good.replace(b"\n", b"\r"),
    "a mark and nothing": lambda _: b"\xef\xbb\xbf",
    "another format": lambda _: b"%PDF-1.7\n",
    "one long line": lambda _: b"x" * 3_000_000,
}
CSV: dict[str, bytes] = {
    "an open quote": b'id,text\na,"x\nb,y\n',
    "more values than columns": b"id,text\na,b,c\n",
    "a column twice": b"id,id\na,b\n",
    "a column without a name": b"id,\na,b\n",
    "only a header": b"id,text\n",
    "only commas": b",,,\n,,,\n",
    "a quote in the middle": b'id,text\na,b"c"d\n',
    "an answer's column": b"id,status,response\na,b,c\n",
}
LINES: dict[str, bytes] = {
    "no objects": b"1\n2\n",
    "lists": b"[1]\n[2]\n",
    "null": b"null\n",
    "nested deeply": b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"\n",
    "a key twice": b'{"a":1,"a":2}\n',
    "an empty key": b'{"":1}\n',
    "no objects after some": b'{"a":1}\n2\n',
    "all types in one column": b'{"a":1}\n{"a":"x"}\n{"a":[1]}\n{"a":{"b":1}}\n',
    "a number that is none": b'{"a":NaN}\n',
    "a number beyond all": b'{"a":1e999}\n{"a":123456789012345678901234567890}\n',
    "half a character": b'{"a":"\\ud83d"}\n',
    "a list over lines": b'[\n{"a":1}\n]\n',
}
OUTPUTS: tuple[Any, ...] = (
    *(
        None,
        True,
        0,
        "",
        "x",
        [],
        {},
        [None],
        {"content": None},
        {"content": "x"},
        {"content": [None]},
        {"content": [[]]},
    ),
    *({"content": [{"text": 5}]}, {"content": {"text": "x"}}, {"usage": "x"}, {"usage": {"input_tokens": "many"}}),
    *({"content": [{"text": "x"}], "usage": {"input_tokens": -1}}, {"content": [{"text": "x"}], "stop_reason": 7}),
    *({"content": [{"text": "\ud83d"}]}, {"content": [{"text": "\0"}]}, {"output": {"message": {"content": [1]}}}),
)
ODD_LINES: dict[str, bytes] = {
    "an id that is a number": b'{"recordId": 7, "modelOutput": {}}\n',
    "an id that is null": b'{"recordId": null, "modelOutput": {}}\n',
    "no id": b'{"modelOutput": {}}\n',
    "an error that is a text": b'{"recordId": "a", "error": "bad"}\n',
    "an error that is null": b'{"recordId": "a", "error": null}\n',
    "an error with a list": b'{"recordId": "a", "error": {"errorCode": [1], "errorMessage": {}}}\n',
    "output and error": b'{"recordId": "a", "modelOutput": {}, "error": {"errorCode": 1}}\n',
    "nested deeply": b'{"recordId":"a","modelOutput":' + b"[" * 3_000 + b"]" * 3_000 + b"}\n",
}
STORED = ("manifest.json", "*.parquet", "*.jsonl", "*.jsonl.out", "*.json")
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    name: ENCODINGS[name] for name in ("nothing", "zeros", "half of it", "no end", "something before", "another format")
} | {"a list": lambda _: b"[]", "an empty object": lambda _: b"{}\n"}
ATTACHED: dict[str, object] = {
    "nothing": b"",
    "white space": b"\n\n",
    "zeros": b"\0" * 100,
    "no UTF-8": b"\xff\xfe\xfd",
    "a picture": b"\x89PNG\r\n\x1a\n",
    "an archive that is none": b"PK\x03\x04" + b"x" * 100,
    "half an archive": FILES["docx"][: len(FILES["docx"]) // 2],
    "old Office that is none": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    "5 MB of text": b"x" * 5_000_000,
    "a URI": "s3://bucket/a.pdf",
    "a number": 5,
    "a list": [b"%PDF-1.7"],
    "a struct without bytes": {"path": "a.pdf"},
    "a struct with text": {"bytes": "text"},
    "a path that leads out": {"bytes": b"text", "path": "../../etc/passwd.md"},
}


def cases() -> list[Case]:
    """All of them."""
    return [
        *_yaml(),
        *_code_locations(),
        *_templates(),
        *_schemas(),
        *_sources(),
        *_outputs(),
        *_inbox(),
        *_attached(),
        *_store(),
    ]


def good() -> list[Case]:
    """One good input of each kind, which has to be taken: what refuses everything would pass as careful."""
    parquet = BytesIO()
    texts(20).write_parquet(parquet)
    return [
        Case("YAML", "good", command(_defs({}))),
        Case("code locations", "good", code_location({key: DEFS[key] for key in ("name", "model", "task")})),
        Case("templates", "good", call(lambda: parse_template("{x} {{}}", "greeting").check(["x"]))),
        Case("schemas", "good", call(lambda: parse_schema({"a": "string"}))),
        Case("sources", "a.csv", source("a.csv", texts(20).write_csv().encode())),
        Case("sources", "a.jsonl", source("a.jsonl", texts(20).write_ndjson().encode())),
        Case("sources", "a.parquet", source("a.parquet", parquet.getvalue())),
        Case("answers", "good", output("anthropic", jsonl([ok("a"), ok("b")]))),
        Case("inbox files", "good", dropped(CONTENTS["too few records"][0])),
        Case("images", "good", attached("images", ATTACHED["a picture"])),
        Case("documents", "good", attached("documents", FILES["docx"])),
        *(Case("store files", pattern, stored(pattern, lambda content: content)) for pattern in STORED),
    ]


def _defs(changes: dict[str, Any]) -> str:
    return yaml.safe_dump({"type": "bedrock_assets.BatchInference", "attributes": DEFS | changes})


def _yaml() -> Iterator[Case]:
    for name, text in BROKEN_YAML.items():
        yield Case("YAML", name, command(text))
    for key in PipelineSpec.model_fields:
        for name, value in WRONG.items():
            yield Case("keys", f"{key} is {name}", command(_defs({key: value})))


def _code_locations() -> Iterator[Case]:
    plain = {key: value for key, value in DEFS.items() if key != "source"}
    for key in PipelineSpec.model_fields:
        for name in ("a long text", "a number"):
            yield Case("code locations", f"{key} is {name}", code_location(plain | {key: WRONG[name]}))


def _templates() -> Iterator[Case]:
    for text in TEMPLATES:
        yield Case("templates", repr(text[:30]), call(lambda text=text: parse_template(text, "greeting").check(["x"])))


def _schemas() -> Iterator[Case]:
    for i, (written, _) in enumerate(REFUSED):
        yield Case("schemas", f"{i}: {str(written)[:40]}", call(lambda written=written: parse_schema(written)))


def _sources() -> Iterator[Case]:
    parquet = BytesIO()
    texts(20).write_parquet(parquet)
    good = {"a.csv": texts(20).write_csv().encode(), "a.jsonl": texts(20).write_ndjson().encode()}
    for file, content in (good | {"a.parquet": parquet.getvalue()}).items():
        for name, damage in ENCODINGS.items():
            yield Case("sources", f"{file}: {name}", source(file, damage(content)))
    for name, content in CSV.items():
        yield Case("sources", f"a.csv: {name}", source("a.csv", content))
    for name, content in LINES.items():
        yield Case("sources", f"a.jsonl: {name}", source("a.jsonl", content))


def _outputs() -> Iterator[Case]:
    for i, value in enumerate(OUTPUTS):
        line = jsonl([json.dumps({"recordId": "a", "modelOutput": value})])
        for family in ("anthropic", "nova", "converse", "chat"):
            yield Case("answers", f"{family}: {i}", output(family, line))
    for case in ANSWERS:
        for family in FAMILIES:
            content = jsonl([json.dumps({"recordId": "a", "modelOutput": case.get("modelOutput", case)})])
            yield Case("answers", f"{family}: {case['case']}", output(family, content))
    for name, content in ODD_LINES.items():
        yield Case("answers", name, output("anthropic", content))
    for name, damage in ENCODINGS.items():
        yield Case("answers", name, output("anthropic", damage(jsonl([ok("a"), ok("b")]))))


def _inbox() -> Iterator[Case]:
    for name, (content, _) in CONTENTS.items():
        yield Case("inbox files", name, dropped(content))
    good = CONTENTS["too few records"][0]
    for name, damage in ENCODINGS.items():
        yield Case("inbox files", f"damage: {name}", dropped(damage(good)))
    for name, content in (LINES | {"zlib": zlib.compress(good)}).items():
        yield Case("inbox files", f"lines: {name}", dropped(content))


def _attached() -> Iterator[Case]:
    for key in ("images", "documents"):
        for family in ("anthropic", "converse"):
            for name, content in ATTACHED.items():
                yield Case(key, f"{family}: {name}", attached(key, content, family))


def _store() -> Iterator[Case]:
    for pattern in STORED:
        for name, damage in DAMAGES.items():
            yield Case("store files", f"{pattern}: {name}", stored(pattern, damage))
