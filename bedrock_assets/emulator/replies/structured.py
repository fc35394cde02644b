"""
Structured output: a value that conforms to a JSON schema, filled from a document.

The document's words choose labels (`enum`), strings summarise or quote it, a bounded number named as a score follows
its mood, and other numbers come from a hash of it, so the same request always gets the same value. All properties are
filled, including optional ones. `pattern`, `not` and `uniqueItems` are ignored.
"""

import json
import re
import zlib
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TypeAlias

from bedrock_assets.emulator.jsontypes import Json, JsonObject, as_list, as_object, as_str, dump
from bedrock_assets.emulator.replies.base import RecordError
from bedrock_assets.emulator.replies.labels import choose, pleasure
from bedrock_assets.emulator.replies.summary import enumeration, subjects, summarize

MAX_DEPTH = 6
"""Levels after which only required properties are filled, so that a schema that refers to itself ends."""

MAX_STRING_CHARS = 400
MAX_ITEMS, MAX_CHARS = 1000, 100_000
"""A schema that requires more is refused."""

_FORMATS = {
    "date": "2026-11-21",
    "date-time": "2026-11-21T10:00:00Z",
    "time": "10:00:00Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uuid": "6b1e3b0a-6f5e-4b7e-9d0a-3f0c1f2e4d5a",
    "ipv4": "192.0.2.1",
    "hostname": "example.com",
}

_SCORES = re.compile(r"score|rating|stars|satisf|sentiment|mood", re.IGNORECASE)
"""Names of numbers that say how good something is."""
_SUBJECTS = re.compile(r"topic|subject|title|theme|keyword|headline", re.IGNORECASE)
"""Names of strings that say what a text is about."""

Number: TypeAlias = int | float


def conforming_text(schema: JsonObject, document: str) -> str:
    """
    JSON text of a value that conforms to *schema*, filled from *document*.

    Raises:
        RecordError: The schema contradicts itself, never ends, or requires more than an answer can hold.
    """
    try:
        return dump(_Filler(schema, document).fill(schema, "", 0))
    except (ValueError, ArithmeticError, RecursionError, TypeError) as error:
        raise RecordError(f"The JSON schema cannot be followed: {error}") from None


def find_schema(text: str) -> JsonObject | None:
    """The first JSON schema of an object in *text*, as in prompts that ask for JSON."""
    if '"properties"' not in text:
        return None
    decoder = json.JSONDecoder()
    start = text.find("{")
    while start >= 0:
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            if isinstance(value, dict) and isinstance(value.get("properties"), dict):
                return value
        start = text.find("{", end)
    return None


class _Filler:
    """Fills one schema; references point into its root."""

    def __init__(self, root: JsonObject, document: str) -> None:
        self._root = root
        self._document = document

    @cached_property
    def _summary(self) -> str:
        return summarize(self._document) or "none"

    @cached_property
    def _subjects(self) -> list[str]:
        return subjects(self._document, 5)

    def fill(self, schema: Json, path: str, depth: int) -> Json:
        """A value for *schema* at *path*."""
        rules = self._resolved(as_object(schema))
        if "const" in rules:
            return rules["const"]
        if isinstance(choices := rules.get("enum"), list) and choices:
            return self._choice(choices, path)
        return self._of_kind(self._kind(rules, depth), rules, path, depth)

    def _of_kind(self, kind: str, rules: JsonObject, path: str, depth: int) -> Json:
        fillers: dict[str, Callable[[], Json]] = {
            "object": lambda: {
                name: self.fill(one, f"{path}.{name}", depth + 1) for name, one in _members(rules, depth)
            },
            "array": lambda: self._array(rules, path, depth),
            "string": lambda: self._string(rules, path),
            "integer": lambda: self._number(rules, path, whole=True),
            "number": lambda: self._number(rules, path, whole=False),
            "boolean": lambda: self._roll(path) % 2 == 0,
        }
        return fillers[kind]() if kind in fillers else None

    def _resolved(self, rules: JsonObject) -> JsonObject:
        """The schema with `$ref`, `allOf` and one branch of `anyOf` and `oneOf` merged into it."""
        for _ in range(MAX_DEPTH):
            parts: list[Json] = [self._lookup(as_str(rules["$ref"]))] if "$ref" in rules else []
            parts += as_list(rules.get("allOf"))
            for name in ("anyOf", "oneOf"):
                parts += _preferred(as_list(rules.get(name)))
            if not parts:
                break
            rules = {key: value for key, value in rules.items() if key not in ("$ref", "allOf", "anyOf", "oneOf")}
            for part in parts:
                rules = _merged(rules, as_object(part))
        return rules

    def _lookup(self, reference: str) -> Json:
        target: Json = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            target = as_object(target).get(step.replace("~1", "/").replace("~0", "~"))
        return target

    def _kind(self, rules: JsonObject, depth: int) -> str:
        given = rules.get("type")
        kinds = [as_str(kind) for kind in (given if isinstance(given, list) else [given]) if kind]
        if "null" in kinds and depth > MAX_DEPTH:
            return "null"
        guess = "object" if "properties" in rules else "array" if "items" in rules else "string"
        return next((kind for kind in kinds if kind != "null"), "null" if kinds else guess)

    def _choice(self, choices: list[Json], path: str) -> Json:
        if all(isinstance(one, str) and one for one in choices):
            return choose([as_str(one) for one in choices], self._document)
        return choices[self._roll(path) % len(choices)]

    def _array(self, rules: JsonObject, path: str, depth: int) -> list[Json]:
        low, high = _size(rules, "minItems", 0), _size(rules, "maxItems", 1 << 30)
        n_items = max(low, min(high, 0 if depth > MAX_DEPTH else 2))
        if n_items > MAX_ITEMS:
            raise ValueError(f"{path} would have {n_items} items")
        return [self.fill(rules.get("items"), f"{path}[{i}]", depth + 1) for i in range(n_items)]

    def _string(self, rules: JsonObject, path: str) -> str:
        if (example := _FORMATS.get(as_str(rules.get("format")))) is not None:
            return example
        low, high = _size(rules, "minLength", 0), _size(rules, "maxLength", MAX_STRING_CHARS)
        if low > MAX_CHARS:
            raise ValueError(f"{path} would have {low} characters")
        text = self._words(path)
        return _shortened(text * (low // max(1, len(text)) + 1) if len(text) < low else text, low, high)

    def _words(self, path: str) -> str:
        """What a string says: a subject as an item of a list, all of them as a title, a summary elsewhere."""
        if item := re.search(r"\[(\d+)\][^.]*$", path):
            words = self._subjects or self._document.split()
            if words:
                return words[int(item[1]) % len(words)]
        elif _SUBJECTS.search(path.rpartition(".")[2]) and self._subjects:
            return enumeration(self._subjects[:3])
        return self._summary

    def _number(self, rules: JsonObject, path: str, *, whole: bool) -> Number:
        low, high = _bound(rules, "inimum", whole=whole), _bound(rules, "aximum", whole=whole)
        is_score = low is not None and high is not None and _SCORES.search(path.rpartition(".")[2]) is not None
        low = low if low is not None else min(0, high - 100) if high is not None else 0
        high = high if high is not None else low + 100
        step = rules.get("multipleOf")
        if isinstance(step, int | float) and step > 0:
            first = -(-low // step)
            value = (first + self._roll(path) % max(1, int(high // step - first + 1))) * step
            return int(value) if whole else value
        if is_score:
            exact = low + (high - low) * pleasure(self._document)
            return (
                min(int(high), max(int(low), round(exact))) if whole else round(exact, 3) if high - low > 1 else exact
            )
        if whole:
            return int(low) + self._roll(path) % max(1, int(high) - int(low) + 1)
        return low + (high - low) * (self._roll(path) % 101) / 100

    def _roll(self, path: str) -> int:
        return zlib.crc32(f"{path}\x1f{self._document}".encode("utf-8", "surrogatepass"))


def _shortened(text: str, low: int, high: int) -> str:
    """*text* with at most *high* and, if it has them, at least *low* characters; cut between words where possible."""
    if len(text) <= high:
        return text
    cut = text[:high].rpartition(" ")[0]
    return cut if len(cut) >= max(low, high // 2) else text[:high]


def _members(rules: JsonObject, depth: int) -> Iterator[tuple[str, Json]]:
    properties, required = as_object(rules.get("properties")), as_list(rules.get("required"))
    for name, schema in properties.items():
        if depth <= MAX_DEPTH or name in required:
            yield name, schema
    for name in required:
        if isinstance(name, str) and name not in properties:
            yield name, {}


def _preferred(branches: list[Json]) -> list[Json]:
    """The first branch that is not null."""
    return [one for one in branches if as_object(one).get("type") != "null"][:1] or branches[:1]


def _merged(first: JsonObject, second: JsonObject) -> JsonObject:
    both = {**first, **second}
    if "properties" in first and "properties" in second:
        both["properties"] = {**as_object(first["properties"]), **as_object(second["properties"])}
    if "required" in first and "required" in second:
        names = [*as_list(first["required"]), *as_list(second["required"])]
        both["required"] = [json.loads(text) for text in dict.fromkeys(map(dump, names))]
    return both


def _size(rules: JsonObject, name: str, default: int) -> int:
    value = rules.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else default


def _bound(rules: JsonObject, name: str, *, whole: bool) -> Number | None:
    """`minimum` or `maximum`, or the nearest value inside the exclusive one, or the bound in the description."""
    up = name == "inimum"
    inclusive, exclusive = rules.get(f"m{name}"), rules.get(f"exclusiveM{name}")
    if isinstance(exclusive, int | float) and not isinstance(exclusive, bool):
        gap = 1 if whole else 1e-6 * max(1.0, abs(exclusive))
        return exclusive + (gap if up else -gap)
    if isinstance(inclusive, int | float) and not isinstance(inclusive, bool):
        return inclusive
    # constrained decoding ignores bounds, so schemas also state them in the description, which a model reads
    match = re.search(rf"\bm{name}: (-?\d+(?:\.\d+)?)", as_str(rules.get("description")))
    return None if match is None else float(match[1])
