"""
Input tokens of records that have not been sent, counted by the model itself where it does that, which is free.

Source: CountTokens, Amazon Bedrock API reference; that most models refuse it, and inference profiles, field reports,
2026.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from bedrock_assets.aws.regions import Region, Regions
from bedrock_assets.aws.runtime import Runtime
from bedrock_assets.config.target import bare_id
from bedrock_assets.config.workload import WorkloadSpec
from bedrock_assets.errors import BedrockError, BedrockUnavailable, ConfigError
from bedrock_assets.prices import Estimator, Measured, Tokens
from bedrock_assets.storage.manifests import InferenceMode
from bedrock_assets.storage.store import Store
from bedrock_assets.threads import map_ordered

Item = TypeVar("Item")

MAX_COUNTED = 16
"""Records of a sample."""
MAX_FILES = 4


@dataclass(frozen=True)
class TokenCounter:
    """
    Asks the first model of a pipeline.

    Args:
        open_runtime: The runtime of a Region, that gives up soon.
    """

    spec: WorkloadSpec
    regions: Regions
    open_runtime: Callable[[Region], Runtime]

    def count(self, records: Iterable[str]) -> Measured | str:
        """
        Count the input tokens of some records.

        Args:
            records: Lines as a batch job reads them; the first `MAX_COUNTED` are counted.

        Returns:
            Bytes with newlines, records and input tokens; or why they cannot be counted.
        """
        lines = [line for line, _ in zip(records, range(MAX_COUNTED), strict=False)]
        if not lines:
            return "there are no records"
        try:
            region = self.regions.at(self.spec.targets[0])
            runtime = self.open_runtime(region)
            if not runtime.is_beside(region.bedrock.client):
                return "the endpoints of Bedrock and of its runtime are not of one service"
            return self._count(runtime, lines)
        except BedrockUnavailable as error:
            return f"not reachable: {error}"
        except (BedrockError, ConfigError) as error:
            return str(error)

    def _count(self, runtime: Runtime, lines: Sequence[str]) -> Measured:
        """
        Raises:
            BedrockError: Not counted.
        """
        model, kind = self.spec.model, self.spec.model_invocation_type
        try:
            first = runtime.count_tokens(bare_id(model), lines[0], kind)
            model = bare_id(model)
        except BedrockUnavailable:
            raise
        except BedrockError:
            if bare_id(model) == model:
                raise
            first = runtime.count_tokens(model, lines[0], kind)  # a model that is only reached by its profile

        def count(line: str) -> int:
            return runtime.count_tokens(model, line, kind)

        others = list(map_ordered(count, lines[1:], self.spec.limits.max_concurrent_requests))
        return Measured(sum(len(line.encode()) + 1 for line in lines), len(lines), first + sum(others))


@dataclass(frozen=True)
class CountingEstimator:
    """As `Estimator`, with input tokens by what was counted, if it was."""

    rest: Estimator
    """Estimates output tokens, and all tokens if nothing was counted."""
    counted: Measured | str

    @cached_property
    def basis(self) -> str:
        """What the estimate is based on, for people."""
        if isinstance(self.counted, str):
            return f"{self.rest.basis} (CountTokens was no help: {self.counted})"
        answers = f"{self.rest.max_tokens} tokens per answer: an upper bound, as answers end earlier"
        if self.rest.measured.n_records:
            answers = f"answers as long as those of {self.rest.measured.n_records:,} records"
        return f"input tokens that the model counted in {self.counted.n_records:,} records, {answers}"

    def tokens(self, n_records: int, n_bytes: int, inference_mode: InferenceMode) -> Tokens:
        """The tokens of *n_records* records in a file of *n_bytes* bytes."""
        tokens = self.rest.tokens(n_records, n_bytes, inference_mode)
        if isinstance(self.counted, str):
            return tokens
        n_input = round(n_bytes * self.counted.input_tokens / self.counted.n_bytes)
        return {mode: count._replace(n_input=n_input) for mode, count in tokens.items()}


def sample_of(store: Store, prompts: Sequence[str]) -> Iterator[str]:
    """
    Records from some files, a few of each first block.

    Args:
        prompts: Keys of JSONL files.
    """
    chosen = spread(prompts, MAX_FILES)
    for key in chosen:
        for chunk in store.chunks(key):
            lines = [line for line in chunk.split(b"\n") if line.strip()]
            yield from (line.decode() for line in spread(lines, MAX_COUNTED // len(chosen)))
            break


def spread(items: Sequence[Item], n: int) -> list[Item]:
    """Up to *n* items, evenly spread from the first on."""
    return list(items[:: max(1, -(-len(items) // n))])
