"""One value of a structured answer: how it is written in YAML, its JSON schema and its column type."""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import polars as pl
from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, model_validator

from bedrock_assets.limits import Strict

Kind = Literal["string", "integer", "number", "boolean", "list", "object"]
KINDS: dict[str, pl.DataType] = {
    "string": pl.String(),
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "boolean": pl.Boolean(),
}


def _require_names(written: Any) -> Any:
    if not isinstance(written, Mapping) or not written:
        raise ValueError("name at least one field, e.g. {score: integer}")
    for name in written:
        if not isinstance(name, str) or not name or name.startswith("__"):
            raise ValueError(f"{name!r} is not a field name; use a word that does not start with `__`")
    return written


def _require_value(item: "Node") -> "Node":
    if item.optional:
        raise ValueError("an item of a list cannot be optional; the model can leave it out of the list")
    return item


Fields = Annotated[dict[str, "Node"], BeforeValidator(_require_names)]
Size = Annotated[int, Field(ge=0)]


class Node(Strict):
    """A value of an answer, as it is written in YAML: a type, an enum, a list or an object, and its limits."""

    type: Literal["string", "integer", "number", "boolean"] | None = None
    enum: tuple[Any, ...] | None = None
    item: Annotated["Node", AfterValidator(_require_value)] | None = Field(default=None, alias="list")
    members: Fields | None = Field(default=None, alias="object")
    optional: bool = False
    """Whether the value may be missing or null."""
    description: str | None = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    min_length: Size | None = None
    max_length: Size | None = None
    min_items: Size | None = None
    max_items: Size | None = None

    @model_validator(mode="before")
    @classmethod
    def _type_alone(cls, written: Any) -> Any:
        return {"type": written} if isinstance(written, str) else written

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = (self.enum is not None, bool(self.type) and self.enum is None, self.item, self.members)
        if sum(map(bool, kinds)) != 1:
            raise ValueError("write exactly one of type, enum, list, object, e.g. {type: integer, minimum: 1}")
        if self.enum is not None and not self.type and {type(value) for value in self.enum} not in ({str}, {int}):
            raise ValueError("an enum is a list of words or of whole numbers; quote words such as 'yes' and 'no'")
        return self

    @model_validator(mode="after")
    def _limits_fit(self) -> Self:
        bounds, sizes = (self.minimum, self.maximum), (self.min_size, self.max_size)
        if bounds != (None, None) and self.kind not in ("integer", "number"):
            raise ValueError(f"minimum and maximum are for numbers, not for {self.kind}")
        if sizes != (None, None) and self.kind not in ("string", "list"):
            raise ValueError(f"limits on length or items are for strings and lists, not for {self.kind}")
        for low, high in (bounds, sizes):
            if low is not None and high is not None and low > high:
                raise ValueError(f"no value is at least {low} and at most {high}; swap the limits")
        return self

    @cached_property
    def kind(self) -> Kind:
        """The kind of value."""
        if self.item or self.members:
            return "list" if self.item else "object"
        return self.type or ("string" if isinstance((self.enum or ("",))[0], str) else "integer")

    @property
    def fields(self) -> Mapping[str, "Node"]:
        """Members of an object."""
        return self.members or {}

    @property
    def min_size(self) -> int | None:
        """Fewest characters of a string, or items of a list."""
        return self.min_items if self.item else self.min_length

    @property
    def max_size(self) -> int | None:
        """Most characters of a string, or items of a list."""
        return self.max_items if self.item else self.max_length

    @cached_property
    def dtype(self) -> pl.DataType:
        """The column type."""
        if self.item:
            return pl.List(self.item.dtype)
        if self.members:
            return pl.Struct({name: node.dtype for name, node in self.members.items()})
        return KINDS[self.kind]

    def json_schema(self, *, bounds: bool) -> dict[str, Any]:
        """
        JSON schema. An optional value may be null but has to be named, as strict services require.

        Args:
            bounds: Whether limits on numbers and sizes are keywords. Constrained decoding on Bedrock refuses these
                (user guide, "Get validated JSON results", 2026-11), so otherwise they go into descriptions.
        """
        schema: dict[str, Any] = {"type": "array" if self.item else self.kind}
        if self.enum:
            schema["enum"] = list(self.enum)
        if self.item:
            schema["items"] = self.item.json_schema(bounds=bounds)
        if self.members:
            schema["properties"] = {name: node.json_schema(bounds=bounds) for name, node in self.members.items()}
            schema |= {"required": list(self.members), "additionalProperties": False}
        limits = self._limits()
        notes = [self.description or "", "" if bounds else ", ".join(f"{n}: {v}" for n, v in limits.items())]
        if text := "; ".join(filter(None, notes)):
            schema["description"] = text
        schema |= limits if bounds else {}
        return {"anyOf": [schema, {"type": "null"}]} if self.optional else schema

    def _limits(self) -> dict[str, float]:
        size = "Items" if self.item else "Length"
        keywords = {"minimum": self.minimum, "maximum": self.maximum}
        keywords |= {f"min{size}": self.min_size, f"max{size}": self.max_size}
        return {name: value for name, value in keywords.items() if value is not None}


FIELDS = TypeAdapter(Fields)
"""Reads the fields of an answer."""
