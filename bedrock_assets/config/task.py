"""What `task:` may say: what to ask the model."""

from typing import Annotated, Any, Literal, Self, cast

from pydantic import BeforeValidator, Field, StringConstraints, model_validator
from typing_extensions import override

from bedrock_assets.limits import Strict

PromptId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_\-]{0,63}$")]
"""A prompt file's name without `.txt`: no dot or slash, so that it cannot leave its folder."""
Shares = Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(min_length=2, max_length=2)]
"""Dagster cannot show a sample of a component that has a tuple of a fixed length in its schema."""
WINNERS = ("first", "second", "tie")
POSITION = "position"
"""Column that tells which of two answers a comparison shows first."""
POSITIONS = ("a_first", "b_first")


class TextOptions(Strict):
    """How any text is asked for."""

    system: str | None = Field(default=None, description="System prompt; a template as well.")
    max_tokens: int = Field(default=512, ge=1, description="Most tokens the answer may have.")
    temperature: float | None = Field(default=None, ge=0, le=1)
    top_p: float | None = Field(default=None, gt=0, le=1)
    stop_sequences: tuple[str, ...] = ()
    null_default: str | None = Field(
        default=None, description="Text that stands in for a null column. Without it such a row becomes an error row."
    )
    images: tuple[str, ...] = Field(
        default=(), description="Columns of bytes (JPEG, PNG, GIF or WebP) that go before the prompt, in this order."
    )
    special_tokens: Literal["error", "split"] = Field(
        default="error",
        description="For models that take one raw prompt: a row whose text has a token of the chat template, such as "
        "`<|eot_id|>`, becomes an error row, or a space is put into the token so that it is ordinary text.",
    )


class TextTask(TextOptions):
    """Generate text for each row."""

    prompt_id: PromptId | None = Field(
        default=None, description="Template `<prompt_id>.txt`, beside defs.yaml or shipped."
    )
    prompt: str | None = Field(default=None, description="The template itself, instead of `prompt_id`.")
    fill: dict[str, str] = Field(
        default_factory=dict,
        description="What stands for a placeholder of the prompt, templates over the columns: "
        "`{text: '{title}: {body}'}`.",
    )

    @model_validator(mode="after")
    def _one_prompt(self) -> Self:
        if (self.prompt_id is None) == (self.prompt is None):
            raise ValueError("name exactly one of prompt_id and prompt")
        return self


class EmbeddingTask(Strict):
    """Embed one column of each row."""

    column: str = Field(description="Text column to embed.")
    dimensions: int | None = Field(
        default=None, ge=1, description="Length of each vector; the model's own without it (Titan 1024, G1 1536)."
    )
    normalize: bool = Field(default=True, description="Scale each vector to length 1 (Titan V2 alone can leave it).")
    input_type: Literal["search_document", "search_query", "classification", "clustering"] = Field(
        default="search_document", description="What the vectors are for; Cohere alone asks."
    )


class PresetTask(TextOptions):
    """A task whose prompt ships; the placeholders of a prompt of one's own are the same."""

    prompt_id: PromptId
    instructions: str = Field(default="", description="Put at the end of the prompt: a template as well.")

    @property
    def schema_of_answer(self) -> dict[str, Any] | str:
        """What is asked for, as `schema:` would say it."""
        raise NotImplementedError

    def fill(self) -> dict[str, str]:
        """What stands for the prompt's own placeholders."""
        raise NotImplementedError

    def as_text(self, **fill: str) -> TextTask:
        """The same as a text task, with *fill* instead of some of its own."""
        shared = {name: getattr(self, name) for name in TextOptions.model_fields}
        filled = self.fill() | {"instructions": self.instructions} | fill
        return TextTask(prompt_id=self.prompt_id, fill=filled, **shared)


def _described(value: Any) -> Any:
    """Labels, which may go without descriptions."""
    return dict.fromkeys(value, "") if isinstance(value, list | tuple) else value


class ClassifyTask(PresetTask):
    """Give each row one of a few labels, or several of them: column `label`, or `labels`."""

    prompt_id: PromptId = "classify"
    text: str = Field(description="What is to be labelled: a template over the columns.")
    labels: Annotated[dict[str, str], BeforeValidator(_described)] = Field(
        min_length=2, description="The labels, as a list or each with what it means."
    )
    several: bool = Field(default=False, description="Whether a row may have more than one, or none.")
    shares: dict[str, Shares] = Field(
        default_factory=dict,
        description="Least and greatest share of a label, `{complaint: [0.05, 0.4]}`, for a check.",
    )

    @model_validator(mode="after")
    def _known_shares(self) -> Self:
        for label, (low, high) in self.shares.items():
            if label not in self.labels:
                raise ValueError(f"shares: {label!r} is no label; labels are: {', '.join(self.labels)}")
            if low > high:
                raise ValueError(f"shares: no share of {label!r} is at least {low} and at most {high}")
        return self

    @property
    @override
    def schema_of_answer(self) -> dict[str, Any]:
        label = {"enum": list(self.labels)}
        return {"labels": {"list": label}} if self.several else {"label": label}

    @override
    def fill(self) -> dict[str, str]:
        lines = [f"- {label}: {meaning}" if meaning else f"- {label}" for label, meaning in self.labels.items()]
        how = "every label that fits, or none" if self.several else "the one label that fits best"
        return {"text": self.text, "labels": literal("\n".join(lines)), "how_many": how}


class ExtractTask(PresetTask):
    """Take values out of a text: a column each."""

    prompt_id: PromptId = "extract"
    text: str = Field(description="What they are in: a template over the columns.")
    fields: dict[str, Any] | str = Field(description="As under `schema:`; let what may be absent be `optional`.")

    @property
    @override
    def schema_of_answer(self) -> dict[str, Any] | str:
        return self.fields

    @override
    def fill(self) -> dict[str, str]:
        return {"text": self.text}


class JudgeTask(PresetTask):
    """Score a text: columns `reason` and `score`."""

    prompt_id: PromptId = "judge"
    text: str = Field(description="What is to be judged: a template over the columns.")
    criteria: str = Field(description="What a good one is: a template as well.")
    scale: tuple[int, ...] = Field(
        default=(1, 5), min_length=2, max_length=2, description="The worst and the best score, whole numbers."
    )

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.scale[0] >= self.scale[1]:
            raise ValueError(f"scale: the worst score comes first, and is below the best; found {list(self.scale)}")
        return self

    @property
    @override
    def schema_of_answer(self) -> dict[str, Any]:
        # The reason comes first, so that the score follows from it.
        low, high = self.scale
        return {"reason": "string", "score": {"type": "integer", "minimum": low, "maximum": high}}

    @override
    def fill(self) -> dict[str, str]:
        low, high = map(str, self.scale)
        return {"text": self.text, "criteria": self.criteria, "worst": low, "best": high}


class CompareTask(PresetTask):
    """
    Choose the better of two texts, asked in both orders: columns `reason` and `winner`.

    Each row becomes two, by a column `position`; `preferences` joins them again.
    """

    prompt_id: PromptId = "compare"
    text: str = Field(default="", description="What both are an answer to, if anything: a template over the columns.")
    a: str = Field(description="One of the two: a template.")
    b: str = Field(description="The other.")
    criteria: str = Field(description="What makes one the better: a template as well.")

    @property
    @override
    def schema_of_answer(self) -> dict[str, Any]:
        return {"reason": "string", "winner": {"enum": list(WINNERS)}}

    @override
    def fill(self) -> dict[str, str]:
        return {"text": self.text, "first": self.a, "second": self.b, "criteria": self.criteria}

    @property
    def swapped(self) -> TextTask:
        """With *b* before *a*."""
        return self.as_text(first=self.b, second=self.a)


def literal(text: str) -> str:
    """A template that says *text* and nothing else."""
    return text.replace("{", "{{").replace("}", "}}")


class TaskSpec(Strict):
    """What to ask the model: exactly one of `text`, `embedding`, `classify`, `extract`, `judge`, `compare`."""

    text: TextTask | None = None
    embedding: EmbeddingTask | None = None
    classify: ClassifyTask | None = None
    extract: ExtractTask | None = None
    judge: JudgeTask | None = None
    compare: CompareTask | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        named = [name for name in TaskSpec.model_fields if getattr(self, name) is not None]
        if len(named) != 1:
            raise ValueError(f"name exactly one of {', '.join(TaskSpec.model_fields)}; found {named or 'none'}")
        return self

    @property
    def preset(self) -> PresetTask | None:
        """The task, if its prompt ships."""
        return self.classify or self.extract or self.judge or self.compare

    @property
    def asked(self) -> TextTask | EmbeddingTask:
        """The task in the terms of model families."""
        # The validator holds that one is set.
        return self.preset.as_text() if self.preset else cast("TextTask | EmbeddingTask", self.text or self.embedding)
