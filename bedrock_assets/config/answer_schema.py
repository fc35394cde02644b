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
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import polars as pl
from pydantic import BaseModel, ValidationError

from bedrock_assets.config.answer_node import FIELDS, Node
from bedrock_assets.config.pydantic_schema import fields_of_class, load_class
from bedrock_assets.errors import ConfigError, describe_validation_error


@dataclass(frozen=True)
class AnswerSchema:
    """The fields of an answer, one column each."""

    fields: Mapping[str, Node]
    answer_class: type[BaseModel] | None = field(default=None, compare=False)
    """The pydantic class that the fields are from; its own validators run on each answer."""

    @cached_property
    def root(self) -> Node:
        """The whole answer: an object."""
        return Node.model_validate({"object": self.fields})

    @property
    def dtypes(self) -> dict[str, pl.DataType]:
        """Column types by field name."""
        return {name: node.dtype for name, node in self.fields.items()}

    def json_schema(self, *, bounds: bool) -> dict[str, Any]:
        """JSON schema of the answer; see `Node.json_schema`."""
        return self.root.json_schema(bounds=bounds)


def parse_schema(written: Mapping[str, Any] | str) -> AnswerSchema:
    """
    Read the value of `schema:`.

    Args:
        written: Fields, or the import path of a pydantic class.

    Raises:
        ConfigError: It is not a schema; the message names the field and the fix.
    """
    answer_class = load_class(written) if isinstance(written, str) else None
    path = f"schema {written}" if answer_class else "schema"
    fields = fields_of_class(answer_class, path) if answer_class else written
    try:
        return AnswerSchema(FIELDS.validate_python(fields), answer_class)
    except ValidationError as error:
        raise ConfigError(describe_validation_error(error, path)) from error
