"""
What tokens cost, from the offline price list of the PyPI package `genai-prices`, or from the pipeline's `price:`.

The list has on-demand prices. Batch inference is billed at half of them for the models that Bedrock offers it for
(Amazon Bedrock pricing, 2026-11); where that does not hold, `price:` says otherwise. A price that is not known is
None, and never 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version

import polars as pl

from bedrock_assets.config.pipeline import WorkloadSpec
from bedrock_assets.storage.manifests import InferenceMode

BATCH_FACTOR = 0.5
"""Of a batch job's price to the on-demand price. Source: Amazon Bedrock pricing, 2026-11."""
MTOK = 1_000_000
BYTES_PER_TOKEN = 3.0
"""Fewer than English text has (about 4), so that an estimate made of bytes alone is rather too high."""
Tokens = Mapping[str, tuple[int, int]]
"""
Input and output tokens by inference mode. For a model that is not the pipeline's first, the key is the mode, a space,
and the model id.
"""


@dataclass(frozen=True)
class Price:
    """US dollars for a million tokens on demand, and where the figures are from."""

    input_usd_per_mtok: float
    output_usd_per_mtok: float
    batch_factor: float
    source: str
    others: Mapping[str, "Price"] = field(default_factory=dict[str, "Price"])
    """Of the pipeline's other models, by id."""

    def cost_usd(self, tokens: Tokens) -> float:
        """The price of tokens that were paid for."""
        named = [(*key.partition(" ")[::2], pair) for key, pair in tokens.items()]
        return sum(self.others.get(model, self)._usd(inference_mode, *pair) for inference_mode, model, pair in named)

    def most_usd(self, tokens: Tokens) -> float:
        """What tokens may cost, whichever model takes them."""
        return max(price.cost_usd(tokens) for price in (self, *self.others.values()))

    def _usd(self, inference_mode: str, n_input: int, n_output: int) -> float:
        usd = (n_input * self.input_usd_per_mtok + n_output * self.output_usd_per_mtok) / MTOK
        return usd * (self.batch_factor if inference_mode == InferenceMode.BATCH else 1)


def price_of(spec: WorkloadSpec) -> Price | None:
    """The price of a pipeline's model, or of each of its models; None where nobody knows it."""
    own = spec.price
    if own:
        return Price(own.input_usd_per_mtok, own.output_usd_per_mtok, own.batch_factor, "the pipeline's `price:`")
    models = dict.fromkeys(target.model for target in spec.targets)
    found = {model: price for model in models if (price := _listed(model))}
    if len(found) < len(models):
        return None
    first = found.pop(spec.model)
    return replace(first, others=found)


def _listed(model: str) -> Price | None:
    from genai_prices import Usage, calc_price  # half a second that most processes need not spend

    bare = model.rpartition("/")[2] if model.startswith("arn:") else model
    try:
        found = calc_price(Usage(input_tokens=MTOK, output_tokens=MTOK), bare, provider_id="aws")
    except LookupError:
        return None
    source = f"genai-prices {version('genai-prices')}, on demand; a batch job is taken to cost {BATCH_FACTOR:.0%} of it"
    return Price(float(found.input_price), float(found.output_price), BATCH_FACTOR, source)


@dataclass(frozen=True)
class Measured:
    """What shards that are answered took: the scale for those that are not."""

    n_bytes: int = 0
    n_records: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: "Measured") -> "Measured":
        return Measured(
            self.n_bytes + other.n_bytes,
            self.n_records + other.n_records,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
        )


@dataclass(frozen=True)
class Estimator:
    """Foretells the tokens of records that have not been sent."""

    measured: Measured
    max_tokens: int
    """Most output tokens of a record; 0 for embeddings."""

    @cached_property
    def basis(self) -> str:
        """How the estimate comes about, for people."""
        if self.measured.n_records:
            return f"tokens of {self.measured.n_records:,} answered records"
        return f"{BYTES_PER_TOKEN:g} bytes a token, {self.max_tokens} tokens an answer: rather too much"

    def tokens(self, n_records: int, n_bytes: int, inference_mode: InferenceMode) -> Tokens:
        """The tokens of so many records in a file of so many bytes."""
        had = self.measured
        if not had.n_records:
            return {inference_mode: (round(n_bytes / BYTES_PER_TOKEN), n_records * self.max_tokens)}
        per_byte, per_record = had.input_tokens / max(1, had.n_bytes), had.output_tokens / had.n_records
        return {inference_mode: (round(n_bytes * per_byte), round(n_records * per_record))}


def add(left: Tokens, right: Tokens) -> Tokens:
    """The sum, mode by mode."""
    lanes = {*left, *right}
    pairs = {
        inference_mode: (left.get(inference_mode, (0, 0)), right.get(inference_mode, (0, 0)))
        for inference_mode in lanes
    }
    return {inference_mode: (a[0] + b[0], a[1] + b[1]) for inference_mode, (a, b) in pairs.items()}


_PAID = [InferenceMode.BATCH.value, InferenceMode.ON_DEMAND.value]


def tokens_of(rows: pl.DataFrame, first: str) -> dict[str, tuple[int, int]]:
    """
    Args:
        rows: answer_source and model_id String, input_tokens and output_tokens Int64, of rows with answers.
        first: The first model of the pipeline.

    Returns:
        The tokens that were paid for, as `prices.Tokens`.
    """
    others = pl.when(pl.col("model_id") != first).then(pl.col("model_id"))
    kind = pl.concat_str("answer_source", others, separator=" ", ignore_nulls=True).alias("kind")
    paid = (
        rows.filter(pl.col("answer_source").is_in(_PAID))
        .group_by(kind)
        .agg(pl.col("input_tokens", "output_tokens").sum())
    )
    return {kind: (n_input, n_output) for kind, n_input, n_output in paid.sort("kind").iter_rows()}
