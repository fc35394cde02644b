"""Agreement with known answers, against values that others have computed."""

import math
from collections import Counter
from decimal import Decimal
from random import Random

import polars as pl
import pytest

from bedrock_assets.config.gold import GoldSpec
from bedrock_assets.outputs.agreement import Agreement, agreement_of, count_pairs, differing

COHEN = Agreement({("yes", "yes"): 20, ("yes", "no"): 5, ("no", "yes"): 10, ("no", "no"): 15})
"""Wikipedia's example of Cohen's kappa, read on 2026-11-27: observed 0.7, by chance 0.5, kappa 0.4."""


def agreement(
    known: list[object], given: list[object], status: list[str] | None = None, match: str = "exact"
) -> Agreement:
    """Of two columns."""
    frame = pl.LazyFrame({"gold": known, "label": given, "status": status or ["ok"] * len(known)})
    gold = GoldSpec.model_validate({"column": "gold", "match": match})
    return agreement_of(count_pairs(frame, gold, "label", "status").collect())


def test_measures() -> None:
    """Accuracy, kappa and F1 of an example that is worked out elsewhere."""
    assert (COHEN.n, COHEN.accuracy) == (50, 0.7)
    assert COHEN.kappa == pytest.approx(0.4)
    assert {one.label: round(one.f1, 4) for one in COHEN.labels} == {"yes": round(40 / 55, 4), "no": round(30 / 45, 4)}
    assert COHEN.macro_f1 == pytest.approx((40 / 55 + 30 / 45) / 2)
    assert COHEN.accuracy_interval == pytest.approx((0.562, 0.809), abs=5e-4)
    error = math.sqrt(0.7 * 0.3 / 50) / 0.5
    assert COHEN.kappa_interval == pytest.approx((0.4 - 1.959964 * error, 0.4 + 1.959964 * error))


def test_the_interval_of_f1() -> None:
    """It is that of rows drawn anew, one by one; more rows narrow it; texts, which are no labels, have none."""
    rows = [pair for pair, n in COHEN.pairs.items() for _ in range(n)]
    random = Random(1)  # noqa: S311 - a sample, not a secret
    drawn = sorted(
        macro for _ in range(2000) if (macro := Agreement(Counter(random.choices(rows, k=50))).macro_f1) is not None
    )
    assert COHEN.macro_f1_interval == pytest.approx((drawn[50], drawn[1949]), abs=0.02)
    many = Agreement({pair: 100 * n for pair, n in COHEN.pairs.items()})
    low, high = many.macro_f1_interval or (0, 1)
    assert low < (COHEN.macro_f1 or 0) < high < low + 0.03
    assert Agreement({("a", "a"): 5}).macro_f1_interval == (1.0, 1.0)
    assert Agreement({}).macro_f1_interval is None
    assert Agreement({(str(i), str(i)): 1 for i in range(1001)}).macro_f1_interval is None


def test_the_ends() -> None:
    """Nothing is unknown, not 0; with one label only there is no kappa; an interval stays within 0 and 1."""
    none = Agreement({}, 3)
    assert (none.accuracy, none.kappa, none.macro_f1, none.accuracy_interval) == (None, None, None, None)
    alike = Agreement({("a", "a"): 5})
    assert (alike.accuracy, alike.kappa, alike.macro_f1) == (1.0, None, 1.0)
    assert alike.accuracy_interval == pytest.approx((0.5655, 1.0), abs=1e-3)
    assert Agreement({("a", "b"): 1}).macro_f1 == 0


def test_thresholds() -> None:
    """Each that is not reached is told with its value; what is unknown reaches none."""
    assert COHEN.below({"accuracy": 0.7, "kappa": 0.4 - 1e-9}) == []
    assert COHEN.below({"accuracy": 0.8, "kappa": 0.5}) == ["accuracy is 0.7, below 0.8", "kappa is 0.4, below 0.5"]
    assert "is unknown" in Agreement({}).below({"accuracy": 0.1})[0]


def test_what_is_compared() -> None:
    """Rows without a known answer are left out, rows without the model's are counted apart."""
    known = ["a", "a", None, "b", "b"]
    found = agreement(known, ["a", "b", "a", None, "b"], ["ok", "ok", "ok", "error", "error"])
    assert (dict(found.pairs), found.n_unanswered) == ({("a", "a"): 1, ("a", "b"): 1}, 2)
    frame = pl.LazyFrame({"gold": known, "label": ["a", "b", "a", None, "b"], "status": ["ok"] * 5})
    assert differing(frame, GoldSpec(column="gold"), "label", "status").collect()["label"].to_list() == ["b"]


def test_blanks() -> None:
    """A blank is no known answer, whatever the file calls it; NaN is none either. Two tables may both say nothing."""
    found = agreement(["a", "", "  ", None], ["a", "a", "a", "a"])
    assert dict(found.pairs) == {("a", "a"): 1}
    assert agreement([1.0, math.nan], [1, 1]).n == 1
    frame = pl.LazyFrame({"gold": ["", "a"], "label": ["", "b"], "status": ["ok", "ok"]})
    pairs = count_pairs(frame, GoldSpec(column="gold"), "label", "status", blank_is_known=True)
    assert agreement_of(pairs.collect()).pairs == {("", ""): 1, ("a", "b"): 1}


@pytest.mark.parametrize(
    ("known", "given", "match", "is_equal"),
    [
        (" Yes", "Yes ", "exact", True),
        ("yes", "Yes", "exact", False),
        ("The  answer.", "the answer", "normalized", True),
        ("ﬁne", "fine!", "normalized", True),
        ("U.S.", "u.s", "normalized", True),
        ("a b", "ab", "normalized", False),
        ("5", 5, "exact", True),
        (5, 5.0, "exact", True),
        (0.5, 0.5, "exact", True),
        ("true", True, "exact", True),
        ("True", True, "normalized", True),
        (["b", "a"], ["a", "b", "b"], "exact", True),
        ("a, b", ["b", "a"], "exact", True),
        ("5.0", 5, "exact", True),
        ("+5", 5, "exact", True),
        ("0.10", 0.1, "exact", True),
        (".3", 0.3, "exact", True),
        (Decimal("4.00"), 4, "exact", True),
        ("five", 5, "exact", False),
        (2**53 + 1, 2**53, "exact", False),
        (str(2**60 + 1), 2**60 + 1, "exact", True),
        ("True", True, "exact", True),
        ("1", True, "exact", True),
        ("no", True, "exact", False),
        ("b, a", ["a", "b"], "exact", True),
        ('["b", "a"]', ["a", "b"], "exact", True),
        ("", ["a"], "exact", False),
        ([], [], "exact", True),
        ("[]", [], "exact", True),
        (-1, 1, "normalized", False),
        ("-1", "1", "normalized", False),
        ("-1", 1, "normalized", False),
        ("C#", "C", "normalized", False),
        ("5%", "5", "normalized", False),
        ("?", "!", "normalized", False),
        ("“Yes.”", "yes", "normalized", True),
    ],
)
def test_equal_answers(known: object, given: object, match: str, is_equal: bool) -> None:
    """Whatever the types of both columns are."""
    assert agreement([known], [given], match=match).n_right == int(is_equal)
