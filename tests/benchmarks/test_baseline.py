"""The baseline of the benchmark, and what is told of it."""

from pathlib import Path

from tests.benchmarks import baseline
from tests.benchmarks.stages import STAGES


def result(ours_cpu_s: float, peak_mb: float) -> dict[str, object]:
    """A run as the benchmark prints it."""
    ways = {"ours": {"cpu_s": ours_cpu_s, "peak_mb": peak_mb}, "duckdb": {"cpu_s": 2.0, "peak_mb": 900.0}}
    return {"machine": {"cpus": 2}, "parse": {"title": "", "figures": {"1000": ways}, "ratios": {}}}


def test_what_got_worse_is_told(tmp_path: Path) -> None:
    """A figure that grew by more than noise is told with both values; one within it, or that shrank, is not."""
    path = tmp_path / "baseline.json"
    baseline.save(baseline.kept_of(result(4.0, 100.0)), path)
    before = baseline.read(path)
    assert before == {"parse": {"1000": {"cpu_over_duckdb": 2.0, "peak_mb": 100}}}
    assert baseline.worse(baseline.kept_of(result(4.5, 50.0)), before) == {"compared": 2, "worse": {}}
    told = baseline.worse(baseline.kept_of(result(5.0, 120.0)), before)["worse"]
    assert told == {
        "parse, 1000 rows, cpu_over_duckdb": "2.5, was 2.0",
        "parse, 1000 rows, peak_mb": "120, was 100",
    }


def test_other_stages_stay_in_the_baseline(tmp_path: Path) -> None:
    """A run of one stage replaces that stage alone."""
    path = tmp_path / "baseline.json"
    baseline.save({"format": {"1": {"peak_mb": 1}}, "parse": {"1": {"peak_mb": 2}}}, path)
    baseline.save(baseline.kept_of(result(4.0, 100.0)), path)
    assert baseline.read(path)["format"] == {"1": {"peak_mb": 1}}
    assert list(baseline.read(path)["parse"]) == ["1000"]


def test_the_committed_baseline_is_of_the_stages_that_there_are() -> None:
    """Every stage has figures, so that `--compare` can tell of each; and each ratio is of a way that there is."""
    kept = baseline.read()
    assert kept.keys() == STAGES.keys()
    for name, sizes in kept.items():
        ways = {f"cpu_over_{way}" for way in STAGES[name].ways if way != "ours"}
        assert all(figures.keys() == ways | {"peak_mb"} for figures in sizes.values()), name
