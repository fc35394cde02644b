"""Conservation of rows under any output that a job may leave behind."""

import json
import random
from dataclasses import dataclass
from typing import Literal

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from bedrock_assets.families import FAMILIES
from bedrock_assets.outputs.parse import Answers, one_outcome_per_row
from tests.labs.stages import failed, jsonl, ok

Kind = Literal["ok", "error", "expired", "broken"]


@dataclass(frozen=True)
class Output:
    """A job's output that is made up, with what should be read from it."""

    kinds: list[list[Kind]]
    """Of each row, the lines that there are for it."""
    junk: list[str]
    n_strangers: int

    @property
    def ids(self) -> list[str]:
        """Record ids of the rows, in order."""
        return [f"r{i}" for i in range(len(self.kinds))]

    def statuses(self) -> list[str]:
        """The fate of each row."""
        return ["ok" if "ok" in k else "error" if "error" in k else "missing" for k in self.kinds]

    def lines(self, chance: random.Random) -> list[str]:
        """All lines in a random order; a broken one is cut somewhere."""
        made = [json.dumps(ok(f"stranger {i}")) for i in range(self.n_strangers)] + self.junk
        for record_id, kinds in zip(self.ids, self.kinds, strict=True):
            answer = ok(record_id, f"to {record_id}")
            whole = {"error": failed(record_id), "expired": failed(record_id, expired=True)}
            for kind in kinds:
                line = json.dumps(whole.get(kind, answer))
                made.append(line[: chance.randrange(1, len(line))] if kind == "broken" else line)
        chance.shuffle(made)
        return made


kinds = st.lists(st.sampled_from(["ok", "ok", "error", "expired", "broken"]), max_size=3)
outputs = st.builds(
    Output,
    st.lists(kinds, max_size=30),
    st.lists(st.sampled_from(["[]", "7", "{}", "{", "}{"]), max_size=3),
    st.integers(0, 3),
)


@given(output=outputs, cuts=st.lists(st.integers(0, 60), max_size=3), chance=st.randoms())
def test_rows_are_conserved(output: Output, cuts: list[int], chance: random.Random) -> None:
    """Any subset, order, repetition and damage of lines, in any pieces: every row once, in order, with its fate."""
    answers, lines, borders = Answers(FAMILIES["anthropic"]), output.lines(chance), sorted(cuts)
    for start, stop in zip([0, *borders], [*borders, len(lines)], strict=True):
        answers.add(jsonl(lines[start:stop]))
    nothing = pl.Series([None] * len(output.ids), dtype=pl.String)
    ids = pl.Series(output.ids, dtype=pl.String)
    fates = pl.DataFrame({"record_id": ids, "code": nothing, "message": nothing, "copy_of": nothing})
    settled, n_unknown = one_outcome_per_row(fates, answers.outcomes(), "")
    assert settled["record_id"].to_list() == output.ids
    assert settled["status"].to_list() == output.statuses()
    expected = [f"to {i}" if s == "ok" else None for i, s in zip(output.ids, output.statuses(), strict=True)]
    assert settled["response"].to_list() == expected
    assert n_unknown == output.n_strangers
    assert answers.n_unreadable == len(output.junk) + sum(k.count("broken") for k in output.kinds)
