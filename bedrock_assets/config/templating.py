"""
Jinja in the values of a defs.yaml: `{{ env.MODEL }}` and template variables, in every key but the texts of prompts.

A prompt is a template of its own, over columns, in which `{{` is a literal brace. So a field that is `AS_WRITTEN` is
never rendered. Elsewhere a value that is one expression becomes what the expression gives, of whatever type; in a
longer text an expression becomes text.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, get_args

from jinja2 import TemplateError, TemplateSyntaxError, Undefined, UndefinedError, meta
from jinja2.nativetypes import NativeEnvironment, NativeTemplate
from pydantic import BaseModel, RootModel
from pydantic.fields import FieldInfo
from typing_extensions import override

from bedrock_assets.errors import ConfigError

AS_WRITTEN = "as written"
"""Annotation of a field whose text is never rendered."""
Text = Annotated[str, AS_WRITTEN]
"""A template over the columns."""

_MARKS = re.compile(r"\{[{%#]")
_ENV_IN_TEXT = re.compile(r"\{\{\s*env\s*[.(]\s*['\"]?(\w+)")
_NOTES = frozenset({"title", "description", "default"})
_EXPRESSION: Mapping[str, Any] = {"type": "string", "pattern": r"\{[{%]"}


class _Missing(Undefined):
    """A value that is not there: false in an `or`, an error in a text."""

    __str__ = __iter__ = __len__ = Undefined._fail_with_undefined_error


class _Environment(NativeEnvironment):
    """Renders one expression as its value. Jinja's own native environment would also make a number of a text `007`."""

    @staticmethod
    @override
    def concat(values: Iterable[Any]) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        parts = list(values)
        return parts[0] if len(parts) == 1 else "".join(map(str, parts))


class _Template(NativeTemplate):
    environment_class = _Environment


_Environment.template_class = _Template
_JINJA = _Environment(undefined=_Missing)


class Env:
    """
    Environment variables in expressions: `env.NAME`, or `env('NAME', 'default')`; read when they are asked for.

    One that is not set is an error where it is used, and not the text `None`.
    """

    def __call__(self, name: str, default: Any = ...) -> Any:
        return os.environ.get(name, _unset(name) if default is ... else default)

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("jinja", "_")):  # Jinja asks every value for attributes of its own
            raise AttributeError(name)
        return os.environ.get(name, _unset(name))


def _unset(name: str) -> _Missing:
    cure = f"set it, for instance in the project's .env, or name a default: {{{{ env('{name}', 'default') }}}}"
    return _Missing(hint=f"environment variable {name} is not set; {cure}")


def resolve(spec: type[BaseModel], attributes: Mapping[str, Any], scope: Mapping[str, Any]) -> dict[str, Any]:
    """
    Render the values of `attributes:`, before they are checked.

    Args:
        spec: What the attributes will be; keys that it lacks are rendered, too.
        scope: Template variables; `env` is always there.

    Raises:
        ConfigError: An expression is wrong, or names a variable that is not there; the message starts with the key.
    """
    return _resolve_fields(spec, attributes, {**scope, "env": Env()}, "attributes")


def variables(spec: type[BaseModel], attributes: Mapping[str, Any]) -> set[str]:
    """
    Names of the template variables that the values use, `env` among them.

    Raises:
        ConfigError: An expression does not parse; the message starts with the key.
    """
    used = set[str]()
    for key, text in _rendered_texts(spec, attributes, "attributes"):
        try:
            used |= meta.find_undeclared_variables(_JINJA.parse(text))
        except TemplateSyntaxError as error:
            raise _wrong(key, text, error) from error
    return used


def _resolve_fields(spec: type[BaseModel], values: Mapping[str, Any], scope: Mapping[str, Any], at: str) -> Any:
    resolved: dict[str, Any] = {}
    for name, value in values.items():
        field, key = _field(spec, name), f"{at}.{name}"
        inner = _model_in(field)
        if _is_as_written(field):
            _require_no_env(key, value)
            resolved[name] = value
        elif inner and isinstance(value, Mapping):
            resolved[name] = _resolve_fields(inner, value, scope, key)  # pyright: ignore[reportUnknownArgumentType]
        else:
            resolved[name] = _resolve_value(value, scope, key)
    return resolved


def _resolve_value(value: Any, scope: Mapping[str, Any], key: str) -> Any:
    if isinstance(value, Mapping):
        return {name: _resolve_value(inner, scope, f"{key}.{name}") for name, inner in value.items()}  # pyright: ignore[reportUnknownVariableType] - YAML
    if isinstance(value, list | tuple):
        items: Sequence[Any] = value  # pyright: ignore[reportUnknownVariableType] - YAML
        return [_resolve_value(inner, scope, f"{key}.{i}") for i, inner in enumerate(items)]
    return _render(value, scope, key) if isinstance(value, str) and _MARKS.search(value) else value


def _render(text: str, scope: Mapping[str, Any], key: str) -> Any:
    try:
        value = _JINJA.from_string(text).render(**scope)
        if isinstance(value, Undefined):
            str(value)  # raises
    except UndefinedError as error:
        message = str(error)
        if message.endswith("is undefined"):
            known = ", ".join(sorted(scope))
            message = f"template variable {message}; known: {known}. Define others in a `template_vars_module`"
        raise ConfigError(f"{key}: {message}") from error
    except TemplateError as error:
        raise _wrong(key, text, error) from error
    except Exception as error:  # whatever a template variable of the user's raises
        raise ConfigError(f"{key}: {text!r} gives {type(error).__name__}: {error}") from error
    return value


def _wrong(key: str, text: str, error: TemplateError) -> ConfigError:
    cure = "write {{ '{{' }} for literal braces"
    return ConfigError(f"{key}: {text!r} is not a Jinja expression ({error}); {cure}")


def _require_no_env(key: str, value: Any) -> None:
    """
    Raises:
        ConfigError: The text names an environment variable, which would be sent to the model as it stands there.
    """
    for text in _texts(value):
        if found := _ENV_IN_TEXT.search(text):
            raise ConfigError(
                f"{key}: {{{{ env.{found[1]} }}}} is not rendered in a prompt, where {{{{ is a literal brace; write "
                "the text out, or put it into a column. A literal text like this can stand in a prompt file"
            )


def _rendered_texts(spec: type[BaseModel], values: Mapping[str, Any], at: str) -> Iterator[tuple[str, str]]:
    """All texts with marks of Jinja that are rendered, with their keys."""
    for name, value in values.items():
        field = _field(spec, name)
        inner = _model_in(field)
        if inner and isinstance(value, Mapping):
            yield from _rendered_texts(inner, value, f"{at}.{name}")  # pyright: ignore[reportUnknownArgumentType]
        elif not _is_as_written(field):
            yield from ((f"{at}.{name}", text) for text in _texts(value) if _MARKS.search(text))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        inner: Iterable[Any] = value.values() if isinstance(value, Mapping) else value  # pyright: ignore[reportUnknownVariableType] - YAML
        for one in inner:
            yield from _texts(one)


def _field(spec: type[BaseModel], key: str) -> FieldInfo | None:
    fields = spec.model_fields
    return fields.get(key) or next((field for field in fields.values() if field.alias == key), None)


def _is_as_written(field: FieldInfo | None) -> bool:
    return field is not None and (AS_WRITTEN in field.metadata or AS_WRITTEN in _parts(field.annotation))


def _model_in(field: FieldInfo | None) -> type[BaseModel] | None:
    """The model of a field that holds one, or none."""
    parts = _parts(field.annotation) if field else []
    return next((part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)), None)


def _parts(annotation: Any) -> list[Any]:
    """A type and all types within."""
    return [annotation, *(part for argument in get_args(annotation) for part in _parts(argument))]


class Attributes(RootModel[dict[str, Any]]):
    """What stands under `attributes:`, as it is written."""


def attributes_of(spec: type[BaseModel], more: Mapping[str, Any] | None = None) -> type[Attributes]:
    """
    The attributes of a spec before they are checked; in their JSON schema each value may be an expression.

    Args:
        more: JSON schemas of further keys.
    """

    class Written(Attributes):
        @classmethod
        @override
        def model_json_schema(cls, *_: Any, **__: Any) -> dict[str, Any]:
            schema = spec.model_json_schema(by_alias=True)
            schema["properties"] |= more or {}
            for part in (schema, *schema.get("$defs", {}).values()):
                if "properties" in part:
                    part["properties"] = {key: _or_expression(value) for key, value in part["properties"].items()}
            return schema

    Written.__name__ = f"{spec.__name__}Attributes"
    return Written


def _or_expression(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a value, or of an expression in its place."""
    if schema.get("type") == "string" and not schema.keys() & {"pattern", "enum"}:
        return dict(schema)
    options = schema.get("anyOf") or [{key: value for key, value in schema.items() if key not in _NOTES}]
    return {key: value for key, value in schema.items() if key in _NOTES} | {"anyOf": [*options, dict(_EXPRESSION)]}
