"""All bad inputs tried, and the table of what became of them."""

from collections import Counter
from pathlib import Path

from tests.bad_inputs.attempts import Fate, Outcome, tried
from tests.bad_inputs.cases import cases

FATES: tuple[Fate, ...] = ("refused", "error rows", "taken", "FAILED")


def try_all(folder: Path) -> list[Outcome]:
    """Try each case, one after the other, each in a folder of its own."""
    return [tried(case, folder / str(number)) for number, case in enumerate(cases())]


def table(outcomes: list[Outcome]) -> str:
    """A table in Markdown: kinds of input, how many were tried, what became of them, and the longest time."""
    lines = [f"| input | tried | {' | '.join(FATES)} | longest, s |", "|---|--:|" + "--:|" * (len(FATES) + 1)]
    for kind in [*dict.fromkeys(outcome.case.kind for outcome in outcomes), "all"]:
        of_kind = [outcome for outcome in outcomes if kind in (outcome.case.kind, "all")]
        counts = Counter(outcome.fate for outcome in of_kind)
        numbers = [len(of_kind), *(counts[fate] for fate in FATES)]
        longest = max(outcome.took_s for outcome in of_kind)
        lines.append(f"| {kind} | {' | '.join(map(str, numbers))} | {longest:.1f} |")
    return "\n".join(lines)
