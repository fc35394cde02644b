"""
What tokens cost, from the offline price list of the PyPI package `genai-prices`, or from the pipeline's `price:`.

The list has on-demand prices. Batch inference costs half of them for the models that offer it (Amazon Bedrock pricing,
2026-11); `price:` covers exceptions. An unknown price is None, never 0.
"""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property
from importlib.metadata import version

import polars as pl

from bedrock_assets.config import WorkloadSpec
from bedrock_assets.storage import InferenceMode

BATCH_FACTOR = 0.5
"""Price of a batch job divided by the on-demand price. Source: Amazon Bedrock pricing, 2026-11."""
MTOK = 1_000_000
BYTES_PER_TOKEN = 3.0
"""Below English text (about 4), so that estimates from bytes alone are too high rather than too low."""
Tokens = Mapping[str, tuple[int, int]]
"""
Input and output tokens by inference mode. For models other than the pipeline's first, the key is the mode, a space and
the model id.
"""


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens on demand, and the source of the figures."""

    input_usd_per_mtok: float
    output_usd_per_mtok: float
    batch_factor: float
    source: str
    others: Mapping[str, "Price"] = field(default_factory=dict[str, "Price"])
    """Prices of the pipeline's other models, by id."""
    on_demand_factor: float = 1.0
    """Price of what the pipeline sends on demand divided by the full price: less than 1 in the flex tier."""

    @property
    def standard(self) -> "Price":
        """The same with calls on demand at the full price."""
        return replace(self, on_demand_factor=1.0)

    def cost_usd(self, tokens: Tokens) -> float:
        """The price of these tokens, in US dollars."""
        cost = 0.0
        for key, (n_input, n_output) in tokens.items():
            mode, _, model = key.partition(" ")
            cost += self.others.get(model, self)._usd(mode, n_input, n_output)
        return cost

    def most_usd(self, tokens: Tokens) -> float:
        """The price of these tokens for the most expensive model, in US dollars."""
        return max(price.cost_usd(tokens) for price in (self, *self.others.values()))

    def _usd(self, inference_mode: str, n_input: int, n_output: int) -> float:
        usd = (n_input * self.input_usd_per_mtok + n_output * self.output_usd_per_mtok) / MTOK
        return usd * (self.batch_factor if inference_mode == InferenceMode.BATCH else self.on_demand_factor)


def listed_price(model: str) -> Price | None:
    """The price of a model in the lists; None if it is unknown."""
    return _listed(model)


def price_of(spec: WorkloadSpec) -> Price | None:
    """The price of a pipeline's models; None if the price of one is unknown."""
    if own := spec.price:
        factor = own.flex_factor if spec.on_small == "flex" and own.flex_factor else 1.0
        source = "the pipeline's `price:`" + ("" if own.flex_factor else _unknown_flex(spec))
        price = Price(own.input_usd_per_mtok, own.output_usd_per_mtok, own.batch_factor, source)
        return replace(price, on_demand_factor=factor)
    models = {target.model for target in spec.targets}
    prices = {model: price for model in models if (price := _listed(model))}
    if len(prices) < len(models):
        return None
    first = prices.pop(spec.model)
    return replace(first, others=prices, source=first.source + _unknown_flex(spec))


def _unknown_flex(spec: WorkloadSpec) -> str:
    """That the price list has no prices of the flex tier, if that is used."""
    return "; calls in the flex tier cost less than shown, see `price.flex_factor`" if spec.on_small == "flex" else ""


def _listed(model: str) -> Price | None:
    from genai_prices import Usage, calc_price  # takes half a second, which most processes can save

    bare = model.rpartition("/")[2] if model.startswith("arn:") else model
    try:
        price = calc_price(Usage(input_tokens=MTOK, output_tokens=MTOK), bare, provider_id="aws")
    except LookupError:
        return None
    source = f"genai-prices {version('genai-prices')}, on demand; batch jobs at {BATCH_FACTOR:.0%} of that"
    return Price(float(price.input_price), float(price.output_price), BATCH_FACTOR, source)


@dataclass(frozen=True)
class Measured:
    """What answered shards took, to estimate the others."""

    n_bytes: int = 0
    n_records: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: "Measured") -> "Measured":
        return Measured(*map(sum, zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Estimator:
    """Estimates the tokens of records that have not been sent."""

    measured: Measured
    max_tokens: int
    """Maximum output tokens of a record; 0 for embeddings."""

    @cached_property
    def basis(self) -> str:
        """What the estimate is based on, for people."""
        if self.measured.n_records:
            return f"tokens of {self.measured.n_records:,} answered records"
        return f"{BYTES_PER_TOKEN:g} bytes per token, {self.max_tokens} tokens per answer; probably too high"

    def tokens(self, n_records: int, n_bytes: int, inference_mode: InferenceMode) -> Tokens:
        """The tokens of *n_records* records in a file of *n_bytes* bytes."""
        measured = self.measured
        if not measured.n_records:
            return {inference_mode: (round(n_bytes / BYTES_PER_TOKEN), n_records * self.max_tokens)}
        per_byte, per_record = (
            measured.input_tokens / max(1, measured.n_bytes),
            measured.output_tokens / measured.n_records,
        )
        return {inference_mode: (round(n_bytes * per_byte), round(n_records * per_record))}


def add(left: Tokens, right: Tokens) -> Tokens:
    """The sum of the tokens, mode by mode."""
    total = dict(left)
    for key, (n_input, n_output) in right.items():
        before = total.get(key, (0, 0))
        total[key] = (before[0] + n_input, before[1] + n_output)
    return total


def tokens_of(rows: pl.DataFrame, first: str) -> dict[str, tuple[int, int]]:
    """
    The tokens that were paid for, as `prices.Tokens`.

    Args:
        rows: answer_source and model_id String, input_tokens and output_tokens Int64, of rows with answers.
        first: The first model of the pipeline.
    """
    others = pl.when(pl.col("model_id") != first).then(pl.col("model_id"))
    key = pl.concat_str("answer_source", others, separator=" ", ignore_nulls=True).alias("key")
    paid = rows.filter(pl.col("answer_source").is_in(list(InferenceMode)))
    sums = paid.group_by(key).agg(pl.col("input_tokens", "output_tokens").sum()).sort("key")
    return {key: (n_input, n_output) for key, n_input, n_output in sums.iter_rows()}
