"""An inbox: ready-made JSONL files that are dropped into a folder of the store become jobs, one for each file."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import polars as pl

from bedrock_assets.config.inbox import InboxSpec
from bedrock_assets.config.task import EmbeddingTask, TextTask
from bedrock_assets.errors import ConfigError
from bedrock_assets.families import (
    FAMILIES,
    Family,
    Prompt,
    Task,
    family_named,
    notices,
    require_batch,
    require_capable,
)
from bedrock_assets.families.json_template import Tree
from bedrock_assets.pipeline.workload import Workload


@dataclass(frozen=True)
class Inbox:
    """
    A spec, and the family of its model.

    Raises:
        ConfigError: The model or its family is wrong, or the settings do not fit it; nothing was read or written.
    """

    spec: InboxSpec

    def __post_init__(self) -> None:
        spec, family = self.spec, self.family
        if family.kind != "text":
            require_capable(spec, family, EmbeddingTask(column="-", dimensions=spec.dimensions))
        elif spec.dimensions is not None:
            raise ConfigError(f"dimensions: model {spec.model!r} ({family.name}) answers in text; leave it out")
        require_batch(spec)
        for target in spec.targets[1:]:
            alone = spec.model_copy(update={"targets": (target,)})
            require_batch(alone)
            other = family_named(alone)
            if other is not family:
                raise ConfigError(
                    f"model: {spec.model!r} ({family.name}) and {target.model!r} ({other.name}) take different "
                    "files; give each an inbox of its own"
                )
        folders = sorted([f"{spec.dropped_to}/", f"{spec.processed_to}/", f"{spec.name}/"])
        for outer, inner in pairwise(folders):
            if inner.startswith(outer):
                raise ConfigError(
                    f"folder {inner!r} is the same as, or inside, folder {outer!r}; dropped_to, processed_to and the "
                    "inbox's name must be three separate folders"
                )

    @cached_property
    def family(self) -> Family:
        """How answers are read."""
        return family_named(self.spec)

    @property
    def notices(self) -> list[str]:
        """What people should know of the models that is no error."""
        return notices(self.spec)

    @cached_property
    def workload(self) -> Workload:
        """What jobs need to know of it."""
        is_text = self.family.kind == "text"
        return Workload(
            self.spec, self.family, dimensions=None if is_text else self.spec.dimensions or self.family.dimensions
        )

    def fault_of_request(self, keys: Collection[str]) -> str | None:
        """Why a `modelInput` with *keys* at its top level is for models of another family; None if it may fit."""
        own = _request_key(self.family)
        known = {_request_key(family) for family in FAMILIES.values()} & set(keys)
        if not known or own in known:
            return None
        return (
            f"its modelInput has {', '.join(sorted(known))}, but model {self.spec.model!r} ({self.family.name}) takes "
            f"{own!r}; drop it into the inbox of its model"
        )

    @cached_property
    def texts_key(self) -> str | None:
        """Key of a request that holds a list of texts to embed, each of which has a vector; None if there is none."""
        key = _request_key(self.family) if self.family.kind == "embedding" else None
        return key if key and isinstance(_request(self.family)[key], list) else None

    def folder(self, key: str) -> str:
        """Where everything that comes from a file is written, by the file's key."""
        return self.spec.folder_of(key)


def require_separate_folders(inboxes: list[InboxSpec], pipelines: list[str]) -> None:
    """
    Args:
        pipelines: Names of the pipelines, which are folders of the store.

    Raises:
        ConfigError: Two inboxes, or an inbox and a pipeline, share a folder.
    """
    used = [(f"{folder}/", f"inbox {spec.name}") for spec in inboxes for folder in (spec.dropped_to, spec.processed_to)]
    used += [(f"{name}/", f"pipeline {name}") for name in pipelines]
    for (outer, one), (inner, other) in pairwise(sorted(used)):
        if inner.startswith(outer) and one != other:
            raise ConfigError(
                f"{other} has folder {inner!r}, which is the same as, or inside, {outer!r} of {one}; give each inbox "
                "folders of its own with `dropped_to` and `processed_to`"
            )


def _request_key(family: Family) -> str:
    """The key of a family's request that holds the prompt or the text to embed."""
    return next(key for key, part in _request(family).items() if _has_column(part))


def _request(family: Family) -> Mapping[str, Tree]:
    """A request of a family."""
    task: Task = TextTask(prompt="-") if family.kind == "text" else EmbeddingTask(column="text")
    request = family.request(Prompt(pl.col("text")), task)
    assert isinstance(request, Mapping)  # noqa: S101 - each family's request is an object
    return request


def _has_column(part: Tree) -> bool:
    if isinstance(part, Mapping):
        return any(map(_has_column, part.values()))
    if isinstance(part, Sequence) and not isinstance(part, str):
        return any(map(_has_column, part))
    return isinstance(part, pl.Expr)
