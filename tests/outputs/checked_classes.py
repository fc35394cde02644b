"""Pydantic classes with validators of their own, named by import path in tests."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_serializer, field_validator, model_validator


def _known(word: str) -> str:
    return {"cat": "feline", "dog": "canine"}[word]


class Animal(BaseModel):
    """A member of an answer, with a validator that raises something else than it should."""

    kind: Annotated[str, AfterValidator(_known)]


class Review(BaseModel):
    """An answer whose fields must agree with each other."""

    model_config = ConfigDict(extra="forbid")

    stars: Annotated[int, Field(ge=1, le=5)]
    mood: Literal["good", "bad"] = "good"
    note: str | None
    animals: list[Animal] = []

    @field_validator("note")
    @classmethod
    def _is_no_placeholder(cls, note: str | None) -> str | None:
        if note == "n/a":
            raise ValueError("write what you think, or null")
        return note and note.upper()

    @model_validator(mode="after")
    def _agrees(self) -> "Review":
        if self.stars == 1 and self.mood == "good":
            raise ValueError("one star is not a good mood")
        assert self.stars != 2 or self.note, "two stars need a note"
        return self


class Exiting(BaseModel):
    """A class that tries to end the process."""

    n: int

    def model_post_init(self, context: Any, /) -> None:
        """Called by pydantic after validation."""
        if self.n == 0:
            raise SystemExit(3)


class Serialized(BaseModel):
    """A class whose only code is for writing, which no answer meets."""

    n: int

    @field_serializer("n")
    def _as_text(self, n: int) -> str:
        return str(n)
