"""
The form of a structured answer: written in YAML or as a pydantic class, sent as JSON schema, kept as typed columns.

    schema:
      sentiment: {enum: [positive, neutral, negative]}
      topics: {list: string, max_items: 5}
      score: {type: integer, minimum: 1, maximum: 5, description: how satisfied the customer is}
      author: {object: {name: string, age: {type: integer, optional: true}}}
      note: {type: string, optional: true}
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl
from pydantic import BaseModel, Field, ValidationError

from bedrock_assets.config.answer_node import Kind, Node, checked, enum_kind, object_schema
from bedrock_assets.errors import ConfigError
from bedrock_assets.limits import Strict


@dataclass(frozen=True)
class AnswerSchema:
    """The fields of an answer, each a column."""

    fields: Mapping[str, Node]
    answer_class: type[BaseModel] | None = field(default=None, compare=False)
    """The pydantic class that the fields are from; its own validators run as well."""

    @property
    def dtypes(self) -> dict[str, pl.DataType]:
        """The columns."""
        return {name: node.dtype for name, node in self.fields.items()}

    def json_schema(self, *, bounds: bool) -> dict[str, Any]:
        """JSON schema of the answer, see `Node.json_schema`."""
        return {"type": "object"} | object_schema(self.fields, bounds=bounds)


def parse_schema(written: Mapping[str, Any] | str) -> AnswerSchema:
    """
    Args:
        written: What stands under `schema:`, fields or the import path of a pydantic class.

    Raises:
        ConfigError: It is no schema; the message names the field and the cure.
    """
    if isinstance(written, str):
        from bedrock_assets.config.pydantic_schema import fields_of_class, load_class

        return AnswerSchema(fields_of_class(written), load_class(written))
    return AnswerSchema(_fields(written, "schema"))


class _Written(Strict):
    """A field as it is written out in YAML."""

    type: Literal["string", "integer", "number", "boolean"] | None = None
    enum: tuple[Any, ...] | None = None
    item: Any = Field(default=None, alias="list")
    members: Any = Field(default=None, alias="object")
    optional: bool = False
    description: str | None = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    min_length: int | None = Field(default=None, ge=0)
    max_length: int | None = Field(default=None, ge=0)
    min_items: int | None = Field(default=None, ge=0)
    max_items: int | None = Field(default=None, ge=0)


def _fields(written: Any, path: str) -> dict[str, Node]:
    if not isinstance(written, Mapping) or not written:
        raise ConfigError(f"{path}: name at least one field, e.g. {{score: integer}}")
    for name in written:
        if not isinstance(name, str) or not name or name.startswith("__"):
            raise ConfigError(f"{path}: {name!r} is no name of a field; use words, not beginning with `__`")
    return {name: _node(value, f"{path}.{name}") for name, value in written.items()}


def _node(written: Any, path: str) -> Node:
    if isinstance(written, str):
        written = {"type": written}
    try:
        told = _Written.model_validate(written)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join([path, *map(str, first["loc"])])
        raise ConfigError(f"{at}: {first['msg'].removeprefix('Value error, ')}") from error
    given = [told.type and told.enum is None, told.enum is not None, told.item is not None, told.members is not None]
    if sum(map(bool, given)) != 1:
        raise ConfigError(f"{path}: write exactly one of type, enum, list, object, e.g. {{type: integer, minimum: 1}}")
    node = Node(
        kind=_kind(told, path),
        optional=told.optional,
        description=told.description,
        enum=told.enum or (),
        minimum=told.minimum,
        maximum=told.maximum,
        min_size=told.min_items if told.item is not None else told.min_length,
        max_size=told.max_items if told.item is not None else told.max_length,
        item=None if told.item is None else _node(told.item, f"{path}[]"),
        fields={} if told.members is None else _fields(told.members, path),
    )
    return checked(node, path)


def _kind(told: _Written, path: str) -> Kind:
    if told.item is not None:
        return "list"
    if told.members is not None:
        return "object"
    return told.type or enum_kind(told.enum or (), path)
