"""All bad inputs tried, and the table of what became of them."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.bad_inputs.attempts import Fate, Outcome, tried
from tests.bad_inputs.cases import cases, good
from tests.bad_inputs.large import LARGE, Taken, allowed

MB = 1024 * 1024
FATES: tuple[Fate, ...] = ("refused", "error rows", "taken", "FAILED")


def try_all(folder: Path) -> list[Outcome]:
    """
    Try each case, one after the other, each in a folder of its own.

    Good ones are tried before, so that no measurement has what the libraries take when they are first used.
    """
    for number, case in enumerate(good()):
        tried(case, folder / f"good-{number}")
    return [tried(case, folder / str(number)) for number, case in enumerate(cases())]


def table(outcomes: list[Outcome]) -> str:
    """A table in Markdown: kinds of input, how many were tried, what became of them, the most time and memory."""
    lines = [
        f"| input | tried | {' | '.join(FATES)} | longest, s | most memory, MB |",
        "|---|--:|" + "--:|" * (len(FATES) + 2),
    ]
    for kind in [*dict.fromkeys(outcome.case.kind for outcome in outcomes), "all"]:
        of_kind = [outcome for outcome in outcomes if kind in (outcome.case.kind, "all")]
        counts = Counter(outcome.fate for outcome in of_kind)
        numbers = [len(of_kind), *(counts[fate] for fate in FATES)]
        longest = max(outcome.took_s for outcome in of_kind)
        most = max(outcome.peak for outcome in of_kind) / MB
        lines.append(f"| {kind} | {' | '.join(map(str, numbers))} | {longest:.1f} | {most:.0f} |")
    return "\n".join(lines)


def table_of_large(taken: Mapping[str, Taken]) -> str:
    """A table in Markdown: large inputs, their sizes, what became of them, their time and memory."""
    lines = ["| input | MB, unpacked | | s | memory, MB | allowed, MB |", "|---|--:|---|--:|--:|--:|"]
    for name, one in taken.items():
        sizes = [one.peak / MB, allowed(LARGE[name], one.n_bytes) / MB]
        memory = " | ".join(f"{size:.0f}" for size in sizes)
        lines.append(f"| {name} | {one.n_bytes / MB:.0f} | {one.fate} | {one.took_s:.1f} | {memory} |")
    return "\n".join(lines)
