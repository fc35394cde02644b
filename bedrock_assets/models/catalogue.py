"""The file of models: it is read once, and searched by the id of a model without ARN and Region prefix."""

import re
import tomllib
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field

from bedrock_assets.limits import Strict
from bedrock_assets.models.model import Model

_PROFILE = re.compile(r"^(?:us|eu|apac|jp|au|ca|us-gov|in|global)\.")
FILE = Path(__file__).with_name("catalogue.toml")


class Source(Strict):
    """Where a fact is from."""

    what: str
    url: str | None = None
    date: date
    """When it was read, or the date it bears."""
    certainty: Literal["documented", "measured", "reported"]
    """By AWS or the model's maker; measured by several people; reported once."""


class Catalogue(Strict):
    """All models, in the order of the file: the first whose pattern matches counts."""

    model_config = ConfigDict(populate_by_name=True)

    read: date
    """When the file was last checked as a whole."""
    sources: dict[str, Source]
    models: tuple[Model, ...] = Field(alias="model")

    def find(self, model_id: str) -> Model | None:
        """The model of that id, inference profile id or ARN; None if it is not in the file."""
        bare = bare_id(model_id)
        return next((model for model in self.models if fnmatchcase(bare, model.id)), None)


@cache
def catalogue() -> Catalogue:
    """The catalogue that ships."""
    return Catalogue.model_validate(tomllib.loads(FILE.read_text("utf-8")))


@cache
def find_model(model_id: str) -> Model | None:
    """As `Catalogue.find`, in the catalogue that ships."""
    return catalogue().find(model_id)


def bare_id(model_id: str) -> str:
    """A model id without ARN and Region prefix; for an inference profile, the id of its model."""
    return _PROFILE.sub("", model_id.rpartition("/")[2] if model_id.startswith("arn:") else model_id)
