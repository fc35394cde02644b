"""Whole campaigns on a clock that jumps: the slots are kept busy, and every shard is done once."""

from collections import Counter
from dataclasses import replace

import pytest

from bedrock_assets.aws.job import JobStatus
from bedrock_assets.jobs.reconcile import MAX_SUBMISSIONS
from tests.benchmarks.campaign import idle_time, measure
from tests.benchmarks.simulation import CREATE_S, LIST_S, Chain, Setting, Simulation, list_schedule_s

SMALL = Setting(n_shards=300, n_slots=20)
ROUGH = replace(SMALL, n_pipelines=2, partial=0.1, failed=0.05)
DONE = JobStatus.COMPLETED


def lasting(*hours: float) -> list[Chain]:
    """Shards of one job each."""
    return [[(3600 * duration, DONE)] for duration in hours]


@pytest.mark.parametrize("setting", [SMALL, replace(SMALL, seed=2), replace(SMALL, spread=0.6)])
def test_slots_are_kept_busy(setting: Setting) -> None:
    """At a tick of 30 s a campaign of 9 h jobs takes 2 % more at most than one scheduled without ticks."""
    figures = measure(setting)
    assert 1 <= figures["ratio"] <= 1.02
    assert figures["idle_share"] < 0.002
    assert figures["most_in_flight"] == setting.n_slots


@pytest.mark.parametrize("setting", [SMALL, ROUGH])
def test_every_shard_is_done_once(setting: Setting) -> None:
    """Each shard is answered once, each attempt of it submitted once, and none more than its jobs call for."""
    chains = setting.chains()
    done = Simulation(setting, chains).run()
    assert len(done.answered) == setting.n_shards
    assert set(done.answered.values()) == {1}
    assert set(done.created.values()) == {1}
    assert Counter(shard for _, shard, _ in done.created) == Counter(
        {shard: len(chains[int(shard[:5])]) for _, shard in done.answered}
    )


def test_jobs_that_are_cut_short_cost_little() -> None:
    """Jobs cut short leave the slots as busy; of two equal pipelines none is done long before the other."""
    figures = measure(ROUGH)
    assert figures["ratio"] <= 1.03
    alone = Simulation(replace(SMALL, n_shards=150), SMALL.chains()[:150]).run()
    shared = Simulation(replace(SMALL, n_pipelines=2), SMALL.chains()).run()
    assert all(at > 1.8 * alone.makespan_s for at in shared.finished_s.values())


def test_a_slower_tick_idles_more() -> None:
    """A freed slot waits half a tick on average: the simulation shows what the ticks cost."""
    idle = []
    for tick_s in (30.0, 600.0):
        done = Simulation(replace(SMALL, tick_s=tick_s), SMALL.chains()).run()
        idle.append(idle_time(SMALL, done).avoidable_s / SMALL.n_shards)
    assert 10 < idle[0] < 30
    assert 200 < idle[1] < 400


def test_a_campaign_by_hand() -> None:
    """Three jobs of an hour on two slots: the third is created at the tick that sees the first end."""
    setting = Setting(n_shards=3, n_slots=2, tick_s=30)
    done = Simulation(setting, lasting(1, 1, 1)).run()
    ticks = [at for at, more_flying, _ in sorted(done.changes) if more_flying == 1]
    # The first tick lists recent jobs and, for each of three requests it has never seen, a former one.
    assert ticks == [4 * LIST_S + CREATE_S, 4 * LIST_S + 2 * CREATE_S, 3630 + LIST_S + CREATE_S]
    assert done.creates == Counter({0: done.n_ticks - 2, 2: 1, 1: 1})


def test_a_tick_submits_so_many() -> None:
    """With more slots than a tick can fill, the next ticks fill the rest."""
    setting = Setting(n_shards=100, n_slots=100)
    done = Simulation(setting, setting.chains()).run()
    assert done.creates[MAX_SUBMISSIONS] == 2
    assert done.creates[100 - 2 * MAX_SUBMISSIONS] == 1


def test_list_scheduling() -> None:
    """The ideal fills a slot at once, in order; an attempt more waits behind those that wait."""
    assert list_schedule_s(lasting(3, 1, 1, 1), 2) == 3 * 3600
    assert list_schedule_s(lasting(1, 1, 1, 3), 2) == 4 * 3600
    twice = [(3600.0, JobStatus.PARTIALLY_COMPLETED), (3600.0, DONE)]
    assert list_schedule_s([twice, *lasting(1, 1)], 1) == 4 * 3600
