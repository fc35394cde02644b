"""JSON as types: strict parsing, compact writing, page tokens, and helpers that narrow a value."""

import base64
import json
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = dict[str, Json]


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def parse(data: bytes) -> Json:
    """
    Parse one JSON document; Python's NaN and Infinity are refused.

    Raises:
        ValueError: The text is not JSON, is not UTF-8, or nests deeper than Python's parser follows.
    """
    try:
        return _decode(data.decode())
    except RecursionError:
        raise ValueError("nested too deeply") from None


def dump(value: Json) -> str:
    """
    One line of JSON with raw non-ASCII characters, as Bedrock writes its output.

    Raises:
        ValueError: A number is not finite (`1e999` parses to infinity).
    """
    return _encode(value)


def write_token(value: Json) -> str:
    """An opaque page token that holds *value*."""
    return base64.urlsafe_b64encode(dump(value).encode()).decode()


def read_token(token: str) -> Json:
    """
    The value in a page token.

    Raises:
        ValueError: It is not a page token.
    """
    return parse(base64.urlsafe_b64decode(token.encode()))


def as_object(value: Json) -> JsonObject:
    """*value* if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: Json) -> list[Json]:
    """*value* if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def as_str(value: Json) -> str:
    """*value* if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""
