"""
How well the reconciler keeps the slots busy over a whole campaign: `python -m tests.benchmarks.campaign`.

Plays the reconciler on a clock that jumps and prints JSON. `ideal_h` is the larger of total work over slots and of what
a scheduler takes that sees an end at once and submits in no time, in the same order. Beside it stand a bound that no
schedule beats, and a scheduler that knows all durations beforehand and takes the longest first. Times of jobs are
simulated and the same for the same seed; `plan_s` and `wall_s` are measured. List calls of a tick are the pages of
recent jobs, and at the first sight of a request those of all jobs ever of its pipeline. Collect runs add one Get a job.
"""

import argparse
import json
import statistics
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.simulation import Chain, H, Setting, Simulation, list_schedule_s

Figures = dict[str, Any]


@dataclass(frozen=True)
class Idle:
    """Slot seconds without a job."""

    avoidable_s: float
    """While a request waited."""
    tail_s: float
    """While none did: the campaign's end."""


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=10_000)
    parser.add_argument("--slots", type=int, default=100)
    parser.add_argument("--hours", type=float, default=9.0, help="mean duration of a job")
    parser.add_argument("--spread", type=float, default=0.25, help="sigma of the lognormal distribution of durations")
    parser.add_argument("--tick-s", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pipelines", type=int, default=1, help="that share the pool")
    parser.add_argument("--partial", type=float, default=0.0, help="share of jobs that end as PartiallyCompleted")
    parser.add_argument("--failed", type=float, default=0.0, help="share of jobs that fail and are launched again")
    parser.add_argument("--json", action="store_true", help="taken for symmetry: it always prints JSON")
    a = parser.parse_args()
    setting = Setting(a.shards, a.slots, a.hours, a.spread, a.tick_s, a.seed, a.pipelines, a.partial, a.failed)
    print(json.dumps(measure(setting), indent=2))


def measure(setting: Setting) -> Figures:
    """Simulate once; the figures."""
    started = time.perf_counter()
    chains = setting.chains()
    done = Simulation(setting, chains).run()
    wall_s = time.perf_counter() - started
    return {
        **_schedule(setting, chains, done),
        "finished_h": {name: _hours(at) for name, at in done.finished_s.items()},
        "n_jobs": sum(done.created.values()),
        "most_in_flight": done.most_in_flight,
        "shards_answered_once": sum(times == 1 for times in done.answered.values()),
        "jobs_created_twice": sum(times > 1 for times in done.created.values()),
        "n_ticks": done.n_ticks,
        "n_plans": len(done.plan_s),
        "list_pages_per_tick": _per_tick(done.pages),
        "search_pages_per_tick": _per_tick(done.searches),
        "create_calls_per_tick": _per_tick(done.creates),
        "plan_s": {"median": round(statistics.median(done.plan_s), 5), "max": round(max(done.plan_s), 5)},
        "wall_s": round(wall_s, 1),
    }


def _schedule(setting: Setting, chains: list[Chain], done: Simulation) -> Figures:
    work_s = [sum(seconds for seconds, _ in chain) for chain in chains]
    even_s = sum(work_s) / setting.n_slots
    list_s = list_schedule_s(chains, setting.n_slots)
    longest_first = [chain for _, chain in sorted(zip(work_s, chains, strict=True), reverse=True)]
    longest_s = list_schedule_s(longest_first, setting.n_slots)
    ideal_s, bound_s = max(even_s, list_s), max(even_s, *work_s)
    idle, slot_s = idle_time(setting, done), setting.n_slots * done.makespan_s
    return {
        "makespan_h": _hours(done.makespan_s),
        "ideal_h": _hours(ideal_s),
        "ratio": round(done.makespan_s / ideal_s, 5),
        "ideals_h": {
            "work_over_slots": _hours(even_s),
            "list_in_order": _hours(list_s),
            "list_longest_first": _hours(longest_s),
            "lower_bound": _hours(bound_s),
        },
        "ratio_to_longest_first": round(done.makespan_s / longest_s, 5),
        "ratio_to_lower_bound": round(done.makespan_s / bound_s, 5),
        "idle_slot_h": _hours(idle.avoidable_s),
        "idle_share": round(idle.avoidable_s / slot_s, 6),
        "tail_slot_h": _hours(idle.tail_s),
        "tail_share": round(idle.tail_s / slot_s, 6),
    }


def idle_time(setting: Setting, done: Simulation) -> Idle:
    """Slots times time without a job, from the campaign's start to its end."""
    flying = waiting = 0
    before, avoidable, tail = 0.0, 0.0, 0.0
    for at, more_flying, more_waiting in sorted(done.changes):
        free_s = (setting.n_slots - flying) * (at - before)
        used_s = min(waiting, setting.n_slots - flying) * (at - before)
        avoidable, tail = avoidable + used_s, tail + free_s - used_s
        before, flying, waiting = at, flying + more_flying, waiting + more_waiting
    return Idle(avoidable, tail + setting.n_slots * (done.makespan_s - before))


def _per_tick(ticks: Counter[int]) -> Figures:
    """Of a count of ticks by number of calls: the calls."""
    total = sum(calls * n_ticks for calls, n_ticks in ticks.items())
    largest = max(calls for calls, n_ticks in ticks.items() if n_ticks)
    return {"max": largest, "mean": round(total / ticks.total(), 4), "total": total}


def _hours(seconds: float) -> float:
    return round(seconds / H, 3)


if __name__ == "__main__":
    main()
