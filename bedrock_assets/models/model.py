"""What is known of one model. A fact that nobody states is None, or absent; it is never guessed."""

from datetime import date
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field

from bedrock_assets.limits import Count, Strict

SchemaMode = Literal["native", "tool", "prompt"]
"""How to ask for a structured answer: by the service's own option, by a tool the model must call, or by the prompt."""
Stage = Literal["active", "legacy", "ended"]
Thinking = Literal["none", "optional", "default", "always"]
"""Whether a model thinks before it answers: never, if asked, unless asked not to, or always."""
DAYS_BEFORE_END = 180
"""From this many days before its end of life on, people are told; AWS gives about as many as notice."""


class ListPrice(Strict):
    """US dollars per million tokens on demand."""

    input: float = Field(ge=0)
    output: float = Field(default=0, ge=0)


class Facts(Strict):
    """Facts about a model that a pipeline may correct under `model_facts:`, where ours are old or wrong."""

    model_config = ConfigDict(populate_by_name=True)

    batch: bool | None = Field(default=None, description="Whether the model can run in a batch job.")
    legacy: date | None = Field(default=None, description="Since when the model is Legacy: closed to new customers.")
    end_of_life: date | None = Field(default=None, description="From this day on the model answers no more.")
    profile: bool | None = Field(
        default=None, description="Whether the model is called by an inference profile only, such as `us.<model id>`."
    )
    context: Count | None = Field(default=None, description="Most tokens of a request and its answer.")
    max_output: Count | None = Field(default=None, description="Highest `max_tokens` that the model takes.")
    refuses: tuple[str, ...] = Field(
        default=(),
        description="Parameters that fail every record, such as `temperature`; `temperature+top_p` for the two "
        "together; `forced_tool` for a tool that the model must call.",
    )
    schema_modes: tuple[SchemaMode, ...] = Field(
        default=("prompt",), alias="schema", description="Ways to ask for a structured answer, best first."
    )
    thinking: Thinking | None = Field(default=None, description="Whether the model thinks before it answers.")
    thinking_forms: tuple[Literal["adaptive", "budget"], ...] = Field(
        default=(), description="How thinking is switched on, best first."
    )
    effort: tuple[str, ...] = Field(default=(), description="Values that `effort` may have.")
    images: bool | None = Field(default=None, description="Whether the model takes images.")
    documents: bool | None = Field(default=None, description="Whether the model takes PDF documents.")


class Model(Facts):
    """One model, or several whose ids share a pattern."""

    id: str = Field(description="Glob over model ids without ARN and Region prefix.")
    name: str
    family: str | None = None
    """None if no family of ours can ask the model, such as for images or speech."""
    example: str | None = None
    """An id that can be written under `model:` as it is."""
    launch: date | None = None
    profiles: tuple[str, ...] = ()
    tokens_told: bool = True
    flex: bool | None = None
    batch_price: bool | None = None
    price: ListPrice | None = None
    sources: dict[str, str] = Field(default_factory=dict)

    @classmethod
    def unknown(cls, model: str) -> Self:
        """A model of which nothing is known but its id, without Region prefix; Converse is how most can be asked."""
        return cls(id=model, name=model, family="converse")

    def corrected(self, facts: Facts | None) -> Self:
        """With the facts that a pipeline states in place of ours."""
        if facts is None:
            return self
        return self.model_copy(update={name: getattr(facts, name) for name in facts.model_fields_set})

    def stage(self, today: date) -> Stage:
        """Where the model is in its life on that day."""
        if self.end_of_life is not None and today >= self.end_of_life:
            return "ended"
        return "legacy" if self.legacy is not None and today >= self.legacy else "active"

    def lifecycle_notice(self, today: date) -> str | None:
        """What people should know of the model's age; None if nothing."""
        stage, end = self.stage(today), self.end_of_life
        if stage == "ended":
            return f"{self.name} ended its life on {end}"
        until = f"; its end of life is {end}" if end else ""
        if stage == "legacy":
            return f"{self.name} is Legacy since {self.legacy}: new accounts cannot use it{until}"
        if end is not None and (end - today).days <= DAYS_BEFORE_END:
            return f"{self.name} ends its life on {end}, in {(end - today).days} days"
        return None

    def source_of(self, fact: str) -> str | None:
        """Key of the source of a fact; None if the fact is not set."""
        return self.sources.get(fact, self.sources.get("all")) if fact in self.stated else None

    @property
    def stated(self) -> dict[str, Any]:
        """The facts that are stated, by their names in the file."""
        return {
            name: value
            for name, value in self.model_dump(by_alias=True, exclude_unset=True).items()
            if name not in {"id", "name", "family", "sources"}
        }
