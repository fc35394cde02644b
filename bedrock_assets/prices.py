"""
What tokens cost, from the offline price list of the PyPI package `genai-prices`, or from the pipeline's `price:`.

The list has on-demand prices. Batch inference costs half of them for the models that offer it (Amazon Bedrock pricing,
2026-11); `price:` covers exceptions. An unknown price is None, never 0, and so is the cost of unknown tokens.
"""

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property, reduce
from importlib.metadata import version

from bedrock_assets.config import WorkloadSpec
from bedrock_assets.config.task import BYTES_PER_TOKEN
from bedrock_assets.models import find_model
from bedrock_assets.storage import InferenceMode
from bedrock_assets.storage.manifests import TokenCount

BATCH_FACTOR = 0.5
"""Price of a batch job divided by the on-demand price. Source: Amazon Bedrock pricing, 2026-11."""
MTOK = 1_000_000
Tokens = Mapping[str, TokenCount]
"""By inference mode. For models other than the pipeline's first, the key is the mode, a space and the model id."""
NO_PRICE = "unknown: the price list does not have the model; set `price:`"
NO_TOKENS = "unknown: neither the answers nor their jobs' manifests tell the tokens"
_CENT = 0.01


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens on demand, and the source of the figures."""

    input_usd_per_mtok: float
    output_usd_per_mtok: float
    batch_factor: float
    source: str
    others: Mapping[str, "Price"] = field(default_factory=dict[str, "Price"])
    """Prices of the pipeline's other models, by id."""
    cache_read_usd_per_mtok: float | None = None
    """Of input tokens that were read from a cache; None: as any other."""
    cache_write_usd_per_mtok: float | None = None
    """Of input tokens that were written to a cache; None: as any other."""
    on_demand_factor: float = 1.0
    """Price of what the pipeline sends on demand divided by the full price: less than 1 in the flex tier."""

    @property
    def standard(self) -> "Price":
        """The same with calls on demand at the full price."""
        return replace(self, on_demand_factor=1.0)

    def cost_usd(self, tokens: Tokens) -> float | None:
        """The price of these tokens, in US dollars; None if they are not known."""
        cost = 0.0
        for key, count in tokens.items():
            mode, _, model = key.partition(" ")
            usd = self.others.get(model, self)._usd(mode, count)
            if usd is None:
                return None
            cost += usd
        return cost

    def most_usd(self, tokens: Tokens) -> float | None:
        """The price of these tokens for the most expensive model, in US dollars; None if they are not known."""
        costs = [price.cost_usd(tokens) for price in (self, *self.others.values())]
        known = [cost for cost in costs if cost is not None]
        return max(known) if len(known) == len(costs) else None

    def _usd(self, inference_mode: str, count: TokenCount) -> float | None:
        if count.n_input is None or count.n_output is None:
            return None
        per_input, per_read, per_written = (
            self.input_usd_per_mtok if price is None else price
            for price in (self.input_usd_per_mtok, self.cache_read_usd_per_mtok, self.cache_write_usd_per_mtok)
        )
        n_fresh = count.n_input - count.n_cache_read - count.n_cache_written
        usd = n_fresh * per_input + count.n_cache_read * per_read + count.n_cache_written * per_written
        usd = (usd + count.n_output * self.output_usd_per_mtok) / MTOK
        return usd * (self.batch_factor if inference_mode == InferenceMode.BATCH else self.on_demand_factor)


def price_of(spec: WorkloadSpec) -> Price | None:
    """The price of a pipeline's models; None if the price of one is unknown."""
    if own := spec.price:
        factor = own.flex_factor if spec.on_small == "flex" and own.flex_factor else 1.0
        source = "the pipeline's `price:`" + ("" if own.flex_factor else _unknown_flex(spec))
        price = Price(own.input_usd_per_mtok, own.output_usd_per_mtok, own.batch_factor, source)
        return replace(price, on_demand_factor=factor)
    models = {target.model for target in spec.targets}
    prices = {model: price for model in models if (price := listed_price(model))}
    if len(prices) < len(models):
        return None
    first = prices.pop(spec.model)
    return replace(first, others=prices, source=first.source + _unknown_flex(spec))


def _unknown_flex(spec: WorkloadSpec) -> str:
    """That the price list has no prices of the flex tier, if that is used."""
    return "; calls in the flex tier cost less than shown, see `price.flex_factor`" if spec.on_small == "flex" else ""


def batch_factor_of(model: str) -> float:
    """The price of a model in a batch job divided by its price on demand; 1.0 if it is known to have no batch price."""
    facts = find_model(model)
    return 1.0 if facts is not None and facts.batch_price is False else BATCH_FACTOR


def usd(value: float) -> str:
    """US dollars, for people: `$1,234.50`; below a cent with two digits that are not 0: `$0.0042`."""
    if value == 0 or abs(value) >= _CENT:
        return f"${value:,.2f}"
    return f"${value:.{1 - math.floor(math.log10(abs(value)))}f}"


def listed_price(model: str) -> Price | None:
    """The price of a model in the catalogue of models, or else in `genai-prices`; None if neither has it."""
    facts, factor = find_model(model), batch_factor_of(model)
    if facts is not None and facts.price is not None:
        source = facts.source_of("price") or ""
        said = f"the catalogue of models ({source}), on demand; batch jobs at {factor:.0%} of that"
        return Price(facts.price.input, facts.price.output, factor, said)
    return _of_genai_prices(model, factor)


def _of_genai_prices(model: str, factor: float) -> Price | None:
    from genai_prices import Usage, calc_price  # takes half a second, which most processes can save

    bare = model.rpartition("/")[2] if model.startswith("arn:") else model

    def input_usd(**tokens: int) -> float:
        return float(calc_price(Usage(input_tokens=MTOK, **tokens), bare, provider_id="aws").input_price)

    try:
        price = calc_price(Usage(input_tokens=MTOK, output_tokens=MTOK), bare, provider_id="aws")
        read, written = input_usd(cache_read_tokens=MTOK), input_usd(cache_write_tokens=MTOK)
    except LookupError:
        return None
    source = f"genai-prices {version('genai-prices')}, on demand; batch jobs at {factor:.0%} of that"
    return Price(
        float(price.input_price),
        float(price.output_price),
        factor,
        source,
        cache_read_usd_per_mtok=read,
        cache_write_usd_per_mtok=written,
    )


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
        answers = f"{self.max_tokens} tokens per answer: an upper bound, as answers end earlier"
        return f"{BYTES_PER_TOKEN} bytes per token, {answers}"

    def tokens(self, n_records: int, n_bytes: int, inference_mode: InferenceMode) -> Tokens:
        """The tokens of *n_records* records in a file of *n_bytes* bytes."""
        measured = self.measured
        if not measured.n_records:
            return {inference_mode: TokenCount(round(n_bytes / BYTES_PER_TOKEN), n_records * self.max_tokens)}
        per_byte, per_record = (
            measured.input_tokens / max(1, measured.n_bytes),
            measured.output_tokens / measured.n_records,
        )
        return {inference_mode: TokenCount(round(n_bytes * per_byte), round(n_records * per_record))}


def add(left: Tokens, right: Tokens) -> Tokens:
    """The sum of the tokens, mode by mode."""
    total = dict(left)
    for key, count in right.items():
        total[key] = total[key] + count if key in total else count
    return total


def total_of(tokens: Tokens) -> TokenCount:
    """The tokens of all modes and models."""
    return reduce(TokenCount.__add__, tokens.values(), TokenCount(0, 0))
