"""`python -m tests.bad_inputs` tries all bad and all large inputs and prints what became of them, and their memory."""

import sys
import tempfile
import warnings
from pathlib import Path

from tests.bad_inputs.large import LARGE, attempt
from tests.bad_inputs.report import table, table_of_large, try_all


def main() -> int:
    """Try them all; 1 if one of them ended as none may."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        outcomes = try_all(Path(folder))
        taken = {name: attempt(large, Path(folder)) for name, large in LARGE.items()}
    print(table(outcomes))
    print(table_of_large(taken))
    failures = [outcome for outcome in outcomes if outcome.fate == "FAILED"]
    for outcome in failures:
        print(f"FAILED {outcome.case.kind}, {outcome.case.name}: {outcome.said[:500]}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
