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
    """What a value may be."""

    kind: Kind
    optional: bool = False
    """Whether it may be missing or null."""
    description: str | None = None
    enum: tuple[Scalar, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    min_size: int | None = None
    """Fewest characters of a string, items of a list."""
    max_size: int | None = None
    item: "Node | None" = None
    """Of a list: what each of its items is, never null."""
    fields: Mapping[str, "Node"] = field(default_factory=dict[str, "Node"])
    """Of an object."""

    @cached_property
    def dtype(self) -> pl.DataType:
        """The type of its column."""
        if self.kind == "list":
            return pl.List(self.item.dtype if self.item else pl.String)
        if self.kind == "object":
            return pl.Struct({name: node.dtype for name, node in self.fields.items()})
        return KINDS[self.kind]

    def json_schema(self, *, bounds: bool) -> dict[str, Any]:
        """
        JSON schema; an optional value may be null, and is always named, as strict services ask.

        Args:
            bounds: Whether limits on numbers and sizes stand in keywords. Constrained decoding on Bedrock refuses
                those (user guide, "Get validated JSON results", 2026-11), so they stand in descriptions otherwise.
        """
        found: dict[str, Any] = {"type": "array" if self.kind == "list" else self.kind}
        if self.enum:
            found["enum"] = list(self.enum)
        if self.item:
            found["items"] = self.item.json_schema(bounds=bounds)
        if self.kind == "object":
            found |= object_schema(self.fields, bounds=bounds)
        limits = self._limits()
        described = [self.description or "", "" if bounds else ", ".join(f"{n}: {v}" for n, v in limits.items())]
        if text := "; ".join(part for part in described if part):
            found["description"] = text
        found |= limits if bounds else {}
        return {"anyOf": [found, {"type": "null"}]} if self.optional else found

    def _limits(self) -> dict[str, float]:
        of = "Items" if self.kind == "list" else "Length"
        named = {
            "minimum": self.minimum,
            "maximum": self.maximum,
            f"min{of}": self.min_size,
            f"max{of}": self.max_size,
        }
        return {name: value for name, value in named.items() if value is not None}


def object_schema(fields: Mapping[str, Node], *, bounds: bool) -> dict[str, Any]:
    """The keywords of an object with these members and no other."""
    properties = {name: node.json_schema(bounds=bounds) for name, node in fields.items()}
    return {"properties": properties, "required": list(fields), "additionalProperties": False}


def enum_kind(values: tuple[Any, ...], path: str) -> Kind:
    """
    Raises:
        ConfigError: The values are not all of one kind.
    """
    if values and all(isinstance(value, str) for value in values):
        return "string"
    if values and all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return "integer"
    raise ConfigError(f"{path}: an enum is a list of words or of whole numbers; quote words such as 'yes' and 'no'")


def checked(node: Node, path: str) -> Node:
    """
    Raises:
        ConfigError: A limit is of another kind of value, or no value is within the limits.
    """
    bounds, sizes = (node.minimum, node.maximum), (node.min_size, node.max_size)
    if any(bound is not None for bound in bounds) and node.kind not in ("integer", "number"):
        raise ConfigError(f"{path}: minimum and maximum are for numbers, not for {node.kind}")
    if any(size is not None for size in sizes) and node.kind not in ("string", "list"):
        raise ConfigError(f"{path}: a least or greatest size is for strings and lists, not for {node.kind}")
    for low, high in (bounds, sizes):
        if low is not None and high is not None and low > high:
            raise ConfigError(f"{path}: no value is at least {low} and at most {high}")
    if node.item and node.item.optional:
        raise ConfigError(f"{path}[]: an item of a list cannot be optional; leave it out of the list instead")
    return node
