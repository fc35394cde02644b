"""Pydantic classes as users write them, named by import path in tests."""

from enum import Enum
from typing import Annotated, Literal, Optional

from pydantic import BaseModel, Field


class Mood(Enum):
    """An enum of words."""

    GOOD = "good"
    BAD = "bad"


class Person(BaseModel):
    """A class within a class."""

    name: str
    age: int | None = None


class Answer(BaseModel):
    """Every kind of field that becomes a column."""

    mood: Mood
    kind: Literal["a", "b"] = "a"
    fixed: Literal["x"]
    score: Annotated[int, Field(ge=1, le=5, description="how good")]
    above: Annotated[int, Field(gt=1, lt=5)]
    share: float | None = Field(default=None, le=1)
    names: Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=3)]
    person: Optional[Person] = None  # noqa: UP045 - people still write it so
    others: list[Person] = []


class Tree(BaseModel):
    """A class that holds itself."""

    children: "list[Tree]"


class Free(BaseModel):
    """A mapping with free keys."""

    counts: dict[str, int]


class Either(BaseModel):
    """A field of two types."""

    value: int | str


class Empty(BaseModel):
    """No field at all."""


class Hollow(BaseModel):
    """A field without fields of its own, which Parquet cannot hold."""

    inner: Empty


class Bounded(BaseModel):
    """A limit that has no column of its own."""

    share: Annotated[float, Field(gt=0)]


not_a_class = 5
