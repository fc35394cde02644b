"""
The schema of a structured answer: written in YAML or as a pydantic class, sent as JSON schema, stored as typed columns.

    schema:
      sentiment: {enum: [positive, neutral, negative]}
      topics: {list: string, max_items: 5}
      score: {type: integer, minimum: 1, maximum: 5, description: how satisfied the customer is}
      author: {object: {name: string, age: {type: integer, optional: true}}}
      note: {type: string, optional: true}
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl
from pydantic import Field, ValidationError

from bedrock_assets.config.answer_node import Kind, Node, checked, enum_kind, object_schema
from bedrock_assets.config.pydantic_schema import fields_of_class
from bedrock_assets.errors import ConfigError, describe_validation_error
from bedrock_assets.limits import Strict


@dataclass(frozen=True)
class AnswerSchema:
    """The fields of an answer, one column each."""

    fields: Mapping[str, Node]

    @property
    def dtypes(self) -> dict[str, pl.DataType]:
        """Column types by field name."""
        return {name: node.dtype for name, node in self.fields.items()}

    def json_schema(self, *, bounds: bool) -> dict[str, Any]:
        """JSON schema of the answer; see `Node.json_schema`."""
        return {"type": "object"} | object_schema(self.fields, bounds=bounds)


def parse_schema(written: Mapping[str, Any] | str) -> AnswerSchema:
    """
    Read the value of `schema:`.

    Args:
        written: Fields, or the import path of a pydantic class.

    Raises:
        ConfigError: It is not a schema; the message names the field and the fix.
    """
    if isinstance(written, str):
        return AnswerSchema(_fields(fields_of_class(written), f"schema {written}"))
    return AnswerSchema(_fields(written, "schema"))


class _Written(Strict):
    """A field as it is written in YAML."""

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
            raise ConfigError(f"{path}: {name!r} is not a field name; use a word that does not start with `__`")
    return {name: _node(value, f"{path}.{name}") for name, value in written.items()}


def _node(written: Any, path: str) -> Node:
    if isinstance(written, str):
        written = {"type": written}
    try:
        field = _Written.model_validate(written)
    except ValidationError as error:
        raise ConfigError(describe_validation_error(error, path)) from error
    is_list = field.item is not None
    kinds = [field.type and field.enum is None, field.enum is not None, is_list, field.members is not None]
    if sum(map(bool, kinds)) != 1:
        raise ConfigError(f"{path}: write exactly one of type, enum, list, object, e.g. {{type: integer, minimum: 1}}")
    node = Node(
        kind=_kind(field, path),
        optional=field.optional,
        description=field.description,
        enum=field.enum or (),
        minimum=field.minimum,
        maximum=field.maximum,
        min_size=field.min_items if is_list else field.min_length,
        max_size=field.max_items if is_list else field.max_length,
        item=_node(field.item, f"{path}[]") if is_list else None,
        fields={} if field.members is None else _fields(field.members, path),
    )
    return checked(node, path)


def _kind(field: _Written, path: str) -> Kind:
    if field.item is not None:
        return "list"
    if field.members is not None:
        return "object"
    return field.type or enum_kind(field.enum or (), path)
