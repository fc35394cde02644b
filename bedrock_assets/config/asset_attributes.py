"""What Dagster shows on the assets of a pipeline or an inbox, and their keys: checked here as Dagster would, by key."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from bedrock_assets.limits import Matching

_KEY_PART = Matching(r"^[A-Za-z0-9_\-]+$", "letters, digits, _ and - only, with / between two parts")
_TAG_KEY = re.compile(r"([A-Za-z0-9_.\-]{1,63}/)*[A-Za-z0-9_.\-]{1,63}")
_TAG_VALUE = re.compile(r"[A-Za-z0-9_.\-]{0,63}")
_OWNER = re.compile(r"team:.+|[^@\s]+@[^@\s]+\.[^@\s]+")
"""Source of these patterns: Dagster 1.13, `_utils/tags.py` and `_core/definitions/utils.py`."""
MAX_KINDS = 8
"""Dagster allows ten on an asset, and ours have up to two of their own."""


def asset_path(name: str, asset: str, prefix: Sequence[str] = ()) -> list[str]:
    """
    The key of an asset of a pipeline or an inbox, which is made nowhere else.

    Args:
        name: The pipeline's or the inbox's.
        asset: Such as `joined_table`.
        prefix: The `key_prefix` of its spec.
    """
    return [*prefix, name, asset]


def is_asset(path: Sequence[str], name: str, asset: str) -> bool:
    """Whether a key is that of an asset, whatever its prefix; names are unique."""
    return list(path[-2:]) == [name, asset]


def _one_or_several(value: Any) -> Any:
    return value.split("/") if isinstance(value, str) else value


def _owners(owners: tuple[str, ...]) -> tuple[str, ...]:
    for owner in owners:
        if not _OWNER.fullmatch(owner):
            raise ValueError(f"{owner!r} is neither an email address nor `team:name`")
    return owners


def _asset_tags(tags: dict[str, str]) -> dict[str, str]:
    for key, value in tags.items():
        if not (_TAG_KEY.fullmatch(key) and _TAG_VALUE.fullmatch(value)):
            raise ValueError(
                f"{key!r}: {value!r} is no tag of Dagster, whose keys and values have letters, digits and _ . - only, "
                "at most 63"
            )
    return tags


KeyPrefix = Annotated[
    tuple[Annotated[str, _KEY_PART], ...],
    BeforeValidator(_one_or_several, json_schema_input_type=str | list[str]),
]
"""Parts of a key, or a text with `/` between them."""
GroupName = Annotated[str, Matching(r"^\w+(/\w+)*$", "letters, digits and _ only, with / between two parts")]
Owners = Annotated[tuple[str, ...], AfterValidator(_owners)]
AssetTags = Annotated[dict[str, Annotated[str, Field(coerce_numbers_to_str=True)]], AfterValidator(_asset_tags)]
Kinds = Annotated[
    tuple[Annotated[str, Matching(r"^\w+$", "letters, digits and _ only")], ...], Field(max_length=MAX_KINDS)
]
