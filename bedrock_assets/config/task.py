"""The key `task:`: what to ask the model."""

from typing import Annotated, Any, Literal, Self, cast

from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import override

from bedrock_assets.config.templating import AS_WRITTEN, Text
from bedrock_assets.limits import Matching, Strict

PromptId = Annotated[
    str,
    Matching(r"^[A-Za-z0-9][A-Za-z0-9_\-]{0,63}$", "the name of a .txt file beside defs.yaml, without .txt"),
]
"""Name of a prompt file without `.txt`; without dots and slashes, so that it cannot leave its folder."""
Request = Annotated[dict[str, Any], AS_WRITTEN]
"""JSON: an object of the model's own request, whose texts are templates over the columns."""
DEFAULT_MAX_TOKENS = 512
Shares = Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(min_length=2, max_length=2)]
"""Not `tuple[float, float]`: Dagster cannot show a sample of a component with a fixed-length tuple in its schema."""
WINNERS = ("first", "second", "tie")
POSITION = "position"
"""Column that says which of two texts a comparison shows first."""
POSITIONS = ("a_first", "b_first")


VERDICT_COLUMNS = ("preferred", "winner_a_first", "winner_b_first", "reason_a_first", "reason_b_first")
"""Columns of `preferences`, in order."""


class TextOptions(Strict):
    """Options of all tasks that generate text."""

    system: Text | None = Field(default=None, description="System prompt; also a template.")
    max_tokens: int = Field(
        default=DEFAULT_MAX_TOKENS,
        ge=1,
        description="Maximum tokens in an answer, thinking included; where the model thinks, the default leaves room "
        "for it.",
    )
    temperature: float | None = Field(default=None, ge=0, le=1)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=1, description="Choose among this many tokens; not every model can.")
    stop_sequences: tuple[str, ...] = ()
    thinking: bool | Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Let the model think before it answers: `true`, `false`, or a number of tokens.",
    )
    effort: str | None = Field(
        default=None, min_length=1, description="How much work goes into an answer: `low`, `medium`, `high` …"
    )
    request: Request = Field(
        default_factory=dict,
        description="Further keys of each record's request, as the model's own documentation names them; texts are "
        "templates over the columns.",
    )
    null_default: str | None = Field(
        default=None, description="Text to use for a null. By default a row with a null becomes an error row."
    )
    images: tuple[str, ...] = Field(
        default=(),
        description="Columns of images (JPEG, PNG, GIF or WebP bytes) to send before the prompt, in order.",
    )
    documents: tuple[str, ...] = Field(
        default=(),
        description="Columns of documents to send before the prompt, in order: PDF and UTF-8 text; by Converse also "
        "Word and Excel.",
    )
    special_tokens: Literal["error", "split"] = Field(
        default="error",
        description="For models that take one raw prompt, what to do with a row whose text has a token of the chat "
        "template, such as `<|eot_id|>`: make it an error row, or put a space into the token so that it is plain text.",
    )


class TextTask(TextOptions):
    """Generate text for each row."""

    prompt_id: PromptId | None = Field(
        default=None, description="Template `<prompt_id>.txt`, next to defs.yaml or shipped with the package."
    )
    prompt: Text | None = Field(default=None, description="The template itself, instead of `prompt_id`.")
    fill: dict[str, Text] = Field(
        default_factory=dict,
        description="Templates over the columns to put in place of placeholders in the prompt: "
        "`{text: '{title}: {body}'}`.",
    )

    @model_validator(mode="after")
    def _one_prompt(self) -> Self:
        if (self.prompt_id is None) == (self.prompt is None):
            raise ValueError("name exactly one of prompt_id and prompt")
        return self


BYTES_PER_TOKEN = 3
"""
Bytes of UTF-8 that are counted as one token, where nobody counts them: below English text (about 4), so that estimates
are too high rather than too low; a character of Chinese or Japanese has three.
"""


class TruncateSpec(Strict):
    """Where to cut a long text: `chars` or `tokens`."""

    chars: int | None = Field(default=None, ge=1, description="Characters to send at most.")
    tokens: int | None = Field(
        default=None, ge=1, description=f"Tokens to send at most, counted as {BYTES_PER_TOKEN} bytes each."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        self.require_exactly_one("chars", "tokens")
        return self


class EmbeddingTask(Strict):
    """Embed one column of each row."""

    column: str = Field(description="Text column to embed.")
    dimensions: int | None = Field(
        default=None, ge=1, description="Length of each vector; else the model's own (Titan 1024, G1 1536, Nova 3072)."
    )
    truncate: TruncateSpec | None = Field(
        default=None,
        description="Send only the beginning of a long text: `{chars: 20000}` or `{tokens: 8000}`; `error_message` of "
        "such a row says so. By default the model refuses it, and the row is an error row.",
    )
    normalize: bool = Field(default=True, description="Scale each vector to length 1 (only Titan V2 can leave it out).")
    input_type: Literal["search_document", "search_query", "classification", "clustering"] = Field(
        default="search_document", description="What the vectors are for; only Cohere and Nova use this."
    )
    request: Request = Field(
        default_factory=dict, description="Further keys of each record's request, such as `truncate` of Cohere."
    )


class PresetTask(TextOptions):
    """A task whose prompt ships with the package; your own prompt can use the same placeholders."""

    prompt_id: PromptId
    instructions: Text = Field(default="", description="Template added to the end of the prompt.")

    @property
    def schema_of_answer(self) -> dict[str, Any] | str:
        """The schema of an answer, as written under `schema:`."""
        raise NotImplementedError

    def fill(self) -> dict[str, str]:
        """Templates for the placeholders of the prompt."""
        raise NotImplementedError

    def as_text(self, **fill: str) -> TextTask:
        """The same as a text task, with *fill* over its own templates."""
        shared = {name: getattr(self, name) for name in TextOptions.model_fields if name in self.model_fields_set}
        filled = self.fill() | {"instructions": self.instructions} | fill
        return TextTask(prompt_id=self.prompt_id, fill=filled, **shared)


def _described(value: Any) -> Any:
    """Allow a list of labels without descriptions."""
    return dict.fromkeys(value, "") if isinstance(value, list | tuple) else value


class ClassifyTask(PresetTask):
    """Give each row one label, or several: column `label` or `labels`."""

    prompt_id: PromptId = "classify"
    text: Text = Field(description="Text to label: a template over the columns.")
    labels: Annotated[
        dict[str, str], BeforeValidator(_described, json_schema_input_type=dict[str, str] | list[str])
    ] = Field(min_length=2, description="The labels: a list, or a mapping from each to its meaning.")
    several: bool = Field(default=False, description="Whether a row may have several labels, or none.")
    shares: dict[str, Shares] = Field(
        default_factory=dict,
        description="Smallest and largest expected share of a label, for a check: `{complaint: [0.05, 0.4]}`.",
    )

    @model_validator(mode="after")
    def _known_shares(self) -> Self:
        for label, (low, high) in self.shares.items():
            if label not in self.labels:
                raise ValueError(f"shares: {label!r} is not a label; labels are: {', '.join(self.labels)}")
            if low > high:
                raise ValueError(f"shares: no share of {label!r} is at least {low} and at most {high}; swap them")
        return self

    @property
    @override
    def schema_of_answer(self) -> dict[str, Any]:
        label = {"enum": list(self.labels)}
        return {"labels": {"list": label}} if self.several else {"label": label}

    @override
    def fill(self) -> dict[str, str]:
        lines = [f"- {label}: {meaning}" if meaning else f"- {label}" for label, meaning in self.labels.items()]
        how_many = "every label that fits, or none" if self.several else "the one label that fits best"
        return {"text": self.text, "labels": literal("\n".join(lines)), "how_many": how_many}


class ExtractTask(PresetTask):
    """Extract values from a text, one column each."""

    prompt_id: PromptId = "extract"
    text: Text = Field(description="Text to extract from: a template over the columns.")
    fields: dict[str, Any] | str = Field(description="As under `schema:`; make values that may be missing `optional`.")

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
    text: Text = Field(description="Text to score: a template over the columns.")
    criteria: Text = Field(description="What makes a text good; also a template.")
    scale: tuple[int, ...] = Field(
        default=(1, 5), min_length=2, max_length=2, description="Worst and best score, whole numbers."
    )

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.scale[0] >= self.scale[1]:
            raise ValueError(f"scale: the worst score comes first and must be below the best; it is {list(self.scale)}")
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
    Choose the better of two texts: columns `reason` and `winner`.

    Each row becomes two, one for each order of the texts, with a column `position`; `preferences` joins them again.
    """

    prompt_id: PromptId = "compare"
    text: Text = Field(default="", description="What both texts answer, if anything: a template over the columns.")
    a: Text = Field(description="First text: a template.")
    b: Text = Field(description="Second text: a template.")
    criteria: Text = Field(description="What makes one text better; also a template.")

    @property
    @override
    def schema_of_answer(self) -> dict[str, Any]:
        return {"reason": "string", "winner": {"enum": list(WINNERS)}}

    @override
    def fill(self) -> dict[str, str]:
        return {"text": self.text, "first": self.a, "second": self.b, "criteria": self.criteria}

    @property
    def swapped(self) -> TextTask:
        """The same task with *b* before *a*."""
        return self.as_text(first=self.b, second=self.a)


def literal(text: str) -> str:
    """A template for exactly this text."""
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
        self.require_exactly_one(*TaskSpec.model_fields)
        return self

    @property
    def preset(self) -> PresetTask | None:
        """The task, if its prompt ships with the package."""
        return self.classify or self.extract or self.judge or self.compare

    @property
    def asked(self) -> TextTask | EmbeddingTask:
        """The task as model families take it."""
        # The validator makes sure that one is set.
        return self.preset.as_text() if self.preset else cast("TextTask | EmbeddingTask", self.text or self.embedding)
