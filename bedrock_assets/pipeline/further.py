"""The key `request:` of a task: further keys of each record's request, whose texts are templates over the columns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import polars as pl

from bedrock_assets.columns import column
from bedrock_assets.errors import ConfigError
from bedrock_assets.families import AnswerFormat, Family, Prompt, Task, Tree
from bedrock_assets.families.json_template import merged
from bedrock_assets.pipeline.templates import Template, parse_template


@dataclass(frozen=True)
class FurtherKeys:
    """Further keys of a request."""

    tree: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """JSON in which a column `further_<i>` stands for the text of each row."""
    templates: tuple[Template, ...] = ()
    """The templates of these columns, in order."""

    @property
    def names(self) -> list[str]:
        """Names of the columns of texts."""
        return [_name(i) for i in range(len(self.templates))]

    def rendered(self, schema: pl.Schema, null_default: str | None) -> dict[str, pl.Expr]:
        """The texts of each row, String expressions by `names`."""
        return {_name(i): template.render(schema, null_default) for i, template in enumerate(self.templates)}

    def added_to(self, request: Tree) -> Tree:
        """The request with these keys."""
        assert isinstance(request, Mapping)  # noqa: S101 - each family's request is an object
        return merged(request, self.tree) if self.tree else request


NONE = FurtherKeys()


def further_keys(family: Family, task: Task, form: AnswerFormat | None = None) -> FurtherKeys:
    """
    Read `request:` of a task.

    Raises:
        ConfigError: It sets a key that the task or the family writes.
        PromptError: A text is not a template.
    """
    if not task.request:
        return NONE
    if family.invocation_type == "Converse" and (taken := {"modelId", "serviceTier"} & set(task.request)):
        raise ConfigError(f"request.{min(taken)}: it is no part of a record; leave it out")
    for path in _overlaps(family.request(Prompt(pl.lit("-"), pl.lit("-"), form=form), task), task.request):
        raise ConfigError(
            f"request.{path}: the request of family {family.name} has this key already; set it by the task's own key "
            "(`bedrock-assets reference` lists them), or leave it out"
        )
    templates: list[Template] = []
    tree = _with_columns(task.request, "request", templates)
    return FurtherKeys(tree, tuple(templates))


def _overlaps(request: Tree, further: Mapping[str, Any]) -> Iterator[str]:
    """Paths of keys that are in both and cannot be merged."""
    if not isinstance(request, Mapping):
        return
    for name, value in further.items():
        if name not in request:
            continue
        if isinstance(request[name], Mapping) and isinstance(value, Mapping):
            yield from (f"{name}.{path}" for path in _overlaps(request[name], value))
        else:
            yield name


def _with_columns(value: Any, name: str, templates: list[Template]) -> Any:
    if isinstance(value, Mapping):
        if wrong := [key for key in value if not isinstance(key, str)]:
            raise ConfigError(f"{name}: key {wrong[0]!r} is no text; put it in quotes")
        return {key: _with_columns(inner, f"{name}.{key}", templates) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_with_columns(inner, f"{name}[{i}]", templates) for i, inner in enumerate(value)]
    if not isinstance(value, str):
        if value is None or isinstance(value, bool | int) or (isinstance(value, float) and isfinite(value)):
            return value
        raise ConfigError(f"{name}: {str(value)!r} ({type(value).__name__}) is no value of JSON; put it in quotes")
    template = parse_template(value, name)
    if not template.columns:
        return template.literals[0]
    templates.append(template)
    return column(_name(len(templates) - 1))


def _name(position: int) -> str:
    return f"further_{position}"
