"""Examples name models that are alive and that a new account can call."""

import re
import warnings
from datetime import UTC, datetime
from pathlib import Path

import pytest

import bedrock_assets
from bedrock_assets.models import bare_id, catalogue, find_model

PACKAGE = Path(bedrock_assets.__file__).parent
DAYS = 60
MAX_AGE_DAYS = 90
FILES = [
    PACKAGE.parent / "README.md",
    *sorted((PACKAGE / "docs").glob("*.md")),
    *sorted((PACKAGE / "defs").rglob("*.yaml")),
    *sorted((PACKAGE / "deploy").rglob("*.y*ml")),
    PACKAGE / "components" / "scaffold.py",
    PACKAGE / "cli" / "new.py",
]
IDS = re.compile(
    r"(?:model[\"']?: |--model |MODEL = |^ +- )[\"'{]?(?:model: )?[\"']?((?:[a-z-]+\.)?[a-z0-9]+\.[a-z][a-z0-9.:-]+\d)",
    re.M,
)
"""Ids of models where examples name them."""


def named() -> list[tuple[str, str]]:
    """File and id of each model that an example names."""
    return [(path.name, found) for path in FILES for found in IDS.findall(path.read_text("utf-8"))]


def test_examples_are_found() -> None:
    """The search finds the models of the README, of the pages, of the shipped pipelines and of the scaffold."""
    assert {"README.md", "defs.yaml", "scaffold.py", "new.py", "how-to.md"} <= {name for name, _ in named()}


@pytest.mark.parametrize(("file", "model_id"), sorted(set(named())))
def test_an_example_is_alive(file: str, model_id: str) -> None:
    """In the catalogue, able to run in batch, neither Legacy nor near its end, by a profile where it needs one."""
    model, today = find_model(model_id), datetime.now(UTC).date()
    assert model is not None, f"{file}: {model_id}"
    assert (model.batch, model.stage(today)) == (True, "active")
    assert model.end_of_life is None or (model.end_of_life - today).days > DAYS, f"{file}: {model_id}"
    assert not (model.profile and bare_id(model_id) == model_id), f"{file}: {model_id} needs an inference profile"


def test_the_catalogue_is_young() -> None:
    """An old catalogue warns here; it fails nothing, as nobody's work should wait for it."""
    age = (datetime.now(UTC).date() - catalogue().read).days
    if age > MAX_AGE_DAYS:
        warnings.warn(f"the catalogue of models was checked {age} days ago; see docs/models.md", stacklevel=1)
    assert age >= -1
