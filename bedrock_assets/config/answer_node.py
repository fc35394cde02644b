"""One value of a structured answer: its kind, its limits, its JSON schema and its column type."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import polars as pl

from bedrock_assets.errors import ConfigError

Kind = Literal["string", "integer", "number", "boolean", "list", "object"]
KINDS: dict[str, pl.DataType] = {
    "string": pl.String(),
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "boolean": pl.Boolean(),
}
Scalar = str | int | float


@dataclass(frozen=True)
class Node:
    """Which values an answer may have in one place."""

    kind: Kind
    optional: bool = False
    """Whether the value may be missing or null."""
    description: str | None = None
    enum: tuple[Scalar, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    min_size: int | None = None
    """Fewest characters of a string, or items of a list."""
    max_size: int | None = None
    item: "Node | None" = None
    """Items of a list, which are never null."""
    fields: Mapping[str, "Node"] = field(default_factory=dict[str, "Node"])
    """Members of an object."""

    @cached_property
    def dtype(self) -> pl.DataType:
        """The column type."""
        if self.kind == "list":
            return pl.List(self.item.dtype if self.item else pl.String)
        if self.kind == "object":
            return pl.Struct({name: node.dtype for name, node in self.fields.items()})
        return KINDS[self.kind]

    @cached_property
    def depth(self) -> int:
        """Levels of lists and objects inside."""
        inner = [*self.fields.values(), *([self.item] if self.item else [])]
        return 1 + max(node.depth for node in inner) if inner else 0

    def json_schema(self, *, bounds: bool) -> dict[str, Any]:
        """
        JSON schema. An optional value may be null but has to be named, as strict services require.

        Args:
            bounds: Whether limits on numbers and sizes are keywords. Constrained decoding on Bedrock refuses these
                (user guide, "Get validated JSON results", 2026-11), so otherwise they go into descriptions.
        """
        schema: dict[str, Any] = {"type": "array" if self.kind == "list" else self.kind}
        if self.enum:
            schema["enum"] = list(self.enum)
        if self.item:
            schema["items"] = self.item.json_schema(bounds=bounds)
        if self.kind == "object":
            schema |= object_schema(self.fields, bounds=bounds)
        limits = self._limits()
        notes = [self.description or "", "" if bounds else ", ".join(f"{n}: {v}" for n, v in limits.items())]
        if text := "; ".join(filter(None, notes)):
            schema["description"] = text
        schema |= limits if bounds else {}
        return {"anyOf": [schema, {"type": "null"}]} if self.optional else schema

    def _limits(self) -> dict[str, float]:
        size = "Items" if self.kind == "list" else "Length"
        keywords = {"minimum": self.minimum, "maximum": self.maximum}
        keywords |= {f"min{size}": self.min_size, f"max{size}": self.max_size}
        return {name: value for name, value in keywords.items() if value is not None}


def object_schema(fields: Mapping[str, Node], *, bounds: bool) -> dict[str, Any]:
    """The JSON schema keywords of an object with exactly these members."""
    properties = {name: node.json_schema(bounds=bounds) for name, node in fields.items()}
    return {"properties": properties, "required": list(fields), "additionalProperties": False}


def enum_kind(values: tuple[Any, ...], path: str) -> Kind:
    """
    The kind of an enum's values.

    Raises:
        ConfigError: They are not all text or all whole numbers.
    """
    if values and all(isinstance(value, str) for value in values):
        return "string"
    if values and all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return "integer"
    raise ConfigError(f"{path}: an enum is a list of words or of whole numbers; quote words such as 'yes' and 'no'")


def checked(node: Node, path: str) -> Node:
    """
    *node*, if its limits make sense.

    Args:
        path: Where the node is, for messages.

    Raises:
        ConfigError: A limit does not apply to this kind of value, or no value is within the limits.
    """
    bounds, sizes = (node.minimum, node.maximum), (node.min_size, node.max_size)
    if any(bound is not None for bound in bounds) and node.kind not in ("integer", "number"):
        raise ConfigError(f"{path}: minimum and maximum are for numbers, not for {node.kind}")
    if any(size is not None for size in sizes) and node.kind not in ("string", "list"):
        raise ConfigError(f"{path}: limits on length or items are for strings and lists, not for {node.kind}")
    for low, high in (bounds, sizes):
        if low is not None and high is not None and low > high:
            raise ConfigError(f"{path}: no value is at least {low} and at most {high}; swap the limits")
    if node.item and node.item.optional:
        raise ConfigError(f"{path}[]: an item of a list cannot be optional; the model can leave it out of the list")
    return node
