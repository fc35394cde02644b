"""
How far answers agree with known ones: accuracy, F1 of each label, Cohen's kappa.

Sources: Wilson (1927) for the interval of a share; Cohen (1960) for kappa and its standard error; macro F1 is the plain
mean over all labels that are known or given, as scikit-learn's `average="macro"` over them; its interval is Efron's
percentile bootstrap (1979).
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import polars as pl

from bedrock_assets.columns import column
from bedrock_assets.config.gold import GoldSpec
from bedrock_assets.outputs.comparable import comparable

Z = 1.959964
"""Of a 95 % interval of a normal distribution."""
MAX_LABELS = 12
"""More are no labels that a person looks at one by one, but texts."""
N_RESAMPLES = 2_000
MAX_PAIRS = 1_000
"""Pairs of a known and a given answer; of more, which are texts and no labels, no interval of F1 is computed."""
KNOWN, GIVEN, STATUS, COUNT = "known", "given", "status", "n"


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


class Measure(NamedTuple):
    """One number for how far answers agree; None without rows."""

    name: str
    value: float | None
    interval: Interval | None


class LabelScore(NamedTuple):
    """How well one label is given."""

    label: str
    n_known: int
    n_given: int
    n_right: int

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, 0 to 1."""
        return 2 * self.n_right / (self.n_known + self.n_given)


@dataclass(frozen=True)
class Agreement:
    """Counts of pairs of a known and a given answer."""

    pairs: Mapping[tuple[str, str], int]
    """Rows by known and given answer."""
    n_unanswered: int = 0
    """Rows with a known answer, but no answer of the model; they count in no measure."""

    @cached_property
    def n(self) -> int:
        """Rows with both."""
        return sum(self.pairs.values())

    @cached_property
    def n_right(self) -> int:
        """Rows whose answers are equal."""
        return sum(n for (known, given), n in self.pairs.items() if known == given)

    @property
    def accuracy(self) -> float | None:
        """Share of equal answers, 0 to 1; None without rows."""
        return self.n_right / self.n if self.n else None

    @property
    def accuracy_interval(self) -> Interval | None:
        """Wilson's interval, which holds for few rows and near 0 and 1, too."""
        if self.accuracy is None:
            return None
        n, share = self.n, self.accuracy
        middle, spread = share + Z**2 / (2 * n), Z * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
        low, high = ((middle + sign * spread) / (1 + Z**2 / n) for sign in (-1, 1))
        return Interval(max(0.0, low), min(1.0, high))

    @cached_property
    def labels(self) -> list[LabelScore]:
        """All labels that are known or given, the most frequent known one first."""
        known, given, right = Counter[str](), Counter[str](), Counter[str]()
        for (truth, answer), n in self.pairs.items():
            known[truth] += n
            given[answer] += n
            right[truth] += n if truth == answer else 0
        scores = [LabelScore(label, known[label], given[label], right[label]) for label in {*known, *given}]
        return sorted(scores, key=lambda score: (-score.n_known, score.label))

    @property
    def macro_f1(self) -> float | None:
        """Mean F1 of all labels, 0 to 1; None without rows."""
        return sum(score.f1 for score in self.labels) / len(self.labels) if self.labels else None

    @cached_property
    def macro_f1_interval(self) -> Interval | None:
        """The middle 95 % of what as many rows, drawn anew from these with replacement, would show."""
        if not self.pairs or len(self.pairs) > MAX_PAIRS:
            return None
        import numpy as np

        index, one = {score.label: i for i, score in enumerate(self.labels)}, np.eye(len(self.labels))
        known, given = (one[[index[pair[side]] for pair in self.pairs]] for side in (0, 1))
        shares = np.array([*self.pairs.values()]) / self.n
        draws = np.random.default_rng(0).multinomial(self.n, shares, N_RESAMPLES).astype(np.float64)
        n_told = draws @ (known + given)
        # A label that is not drawn is none of that sample's.
        f1 = np.divide(2 * draws @ (known * given), n_told, out=np.full(n_told.shape, np.nan), where=n_told > 0)
        return Interval(*map(float, np.nanpercentile(np.nanmean(f1, axis=1), (2.5, 97.5))))

    @property
    def measures(self) -> list[Measure]:
        """All measures, each with its 95 % interval."""
        return [
            Measure("accuracy", self.accuracy, self.accuracy_interval),
            Measure("macro_f1", self.macro_f1, self.macro_f1_interval),
            Measure("kappa", self.kappa, self.kappa_interval),
        ]

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa, -1 to 1; None without rows, or where there is one label only."""
        if self.accuracy is None or (chance := self._by_chance) == 1:
            return None
        return (self.accuracy - chance) / (1 - chance)

    @property
    def kappa_interval(self) -> Interval | None:
        """By kappa's standard error."""
        if self.kappa is None or self.accuracy is None:
            return None
        error = math.sqrt(self.accuracy * (1 - self.accuracy) / self.n) / (1 - self._by_chance)
        return Interval(max(-1.0, self.kappa - Z * error), min(1.0, self.kappa + Z * error))

    @property
    def _by_chance(self) -> float:
        return sum(score.n_known * score.n_given for score in self.labels) / self.n**2

    def below(self, least: Mapping[str, float]) -> list[str]:
        """
        Which thresholds are not reached, in words.

        Args:
            least: Least value by measure: `accuracy`, `macro_f1`, `kappa`.
        """
        found = {"accuracy": self.accuracy, "macro_f1": self.macro_f1, "kappa": self.kappa}
        return [
            f"{name} is unknown, because no row has both a known answer and the model's"
            if (value := found[name]) is None
            else f"{name} is {value:.4g}, below {limit:g}"
            for name, limit in least.items()
            if (value := found[name]) is None or value < limit
        ]


def count_pairs(
    rows: pl.LazyFrame, gold: GoldSpec, answer: str, status: str, *, blank_is_known: bool = False
) -> pl.LazyFrame:
    """
    Count the rows of each pair; see `agreement_of`.

    Args:
        answer: Column of the model's answer.
        status: Column that is `ok` where there is one.
        blank_is_known: Whether an empty text is a known answer, and not the lack of one.
    """
    known, given = comparable(rows.collect_schema(), gold, answer)
    both = rows.select(known.alias(KNOWN), given.alias(GIVEN), column(status).alias(STATUS))
    is_known = pl.col(KNOWN).is_not_null() if blank_is_known else pl.col(KNOWN) != ""
    answered = pl.when(pl.col(STATUS) == "ok").then(pl.col(GIVEN))
    return both.filter(is_known).select(KNOWN, answered.alias(GIVEN)).group_by(KNOWN, GIVEN).agg(pl.len().alias(COUNT))


def differing(
    rows: pl.LazyFrame, gold: GoldSpec, answer: str, status: str, *, blank_is_known: bool = False
) -> pl.LazyFrame:
    """The rows with an answer that is not the known one; all columns."""
    known, given = comparable(rows.collect_schema(), gold, answer)
    is_known = pl.lit(value=True) if blank_is_known else known != ""
    return rows.filter(is_known & (known != given) & (column(status) == "ok"))


def agreement_of(counts: pl.DataFrame) -> Agreement:
    """
    The agreement that counted pairs show.

    Args:
        counts: `known` (String), `given` (String, null without an answer), `n`.
    """
    rows = list(counts.select(KNOWN, GIVEN, COUNT).iter_rows())
    pairs = {(known, given): n for known, given, n in rows if given is not None}
    return Agreement(pairs, sum(n for _, given, n in rows if given is None))
