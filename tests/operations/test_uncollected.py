"""Jobs that are paid and that nobody is about to collect are named, with what to do."""

from collections.abc import Generator
from pathlib import Path

import pytest

from bedrock_assets.operations.dagster_checks import run_dagster_checks
from bedrock_assets.operations.uncollected import uncollected_jobs
from tests.labs import inbox as inbox_lab
from tests.labs.dispatch import Lab, open_lab


@pytest.fixture
def lab(tmp_path: Path) -> Generator[Lab]:
    """Two shards whose jobs have ended, not collected yet."""
    with open_lab(tmp_path, n_rows=20) as opened:
        opened.ask()
        opened.tick_only()
        opened.wait_for_jobs()
        yield opened


def cures(lab: Lab, name: str = "calls") -> dict[str, str]:
    """What is said of each shard."""
    spec = lab.pipeline.spec.model_copy(update={"name": name})
    found = uncollected_jobs(lab.instance, lab.store, lab.jobs(), [spec])
    return {one.shard: one.cure for one in found}


def test_a_job_that_a_request_waits_for_is_none(lab: Lab) -> None:
    """Neither before it is collected nor afterwards; and of a pipeline that is gone, all are."""
    assert cures(lab) == {}
    assert cures(lab, "others") == dict.fromkeys(
        lab.shards, "there is no pipeline calls here; add it again under this name, then launch this shard"
    )
    others = [lab.pipeline.spec.model_copy(update={"name": "others"})]
    told = [
        result.status
        for are_all in (True, False)
        for result in run_dagster_checks(lab.instance, lab.opened, others, are_all=are_all)
        if result.check == "answers to collect"
    ]
    assert told == ["warn", "warn", "ok"], "where not all pipelines are looked at, others may be there"
    lab.finish()
    lab.instance.wipe()
    assert cures(lab) == {}, "they are collected"


def test_after_the_log_was_wiped(lab: Lab) -> None:
    """A launch collects them, after the partition is registered again if it was deleted; `doctor` says so."""
    first, second = lab.shards
    lab.instance.wipe()
    lab.instance.add_dynamic_partitions("calls_shards", [second])
    assert cures(lab) == {
        first: "materialize calls/raw_dataset to register it again, then launch it",
        second: "launch this partition of calls/batch_outputs",
    }
    results = [
        r for r in run_dagster_checks(lab.instance, lab.opened, [lab.pipeline.spec]) if r.check == "answers to collect"
    ]
    assert [result.status for result in results] == ["warn", "warn"]
    assert any("launch this partition of calls/batch_outputs" in result.fix for result in results)
    lab.ask()
    lab.seen_run_keys.clear()
    lab.finish()
    assert len(lab.jobs()) == 2
    assert cures(lab) == {}


def test_the_jobs_of_an_inbox(tmp_path: Path) -> None:
    """After the log was wiped a launch collects a file's answers, and if its partition is gone, dropping it again."""
    with inbox_lab.open_lab(tmp_path, speed=None) as lab:

        def told() -> dict[str, str]:
            found = uncollected_jobs(lab.instance, lab.store, lab.jobs(), [lab.inbox.spec])
            return {one.shard: one.cure for one in found}

        lab.drop("first.jsonl", inbox_lab.lines(4))
        lab.drop("second.jsonl", inbox_lab.lines(5))
        for _ in range(3):
            lab.tick()
        assert told() == {}
        lab.instance.wipe()
        lab.restart()
        lab.seen_run_keys.clear()
        lab.instance.add_dynamic_partitions("mail_shards", ["first"])
        back = "move processed/second/second.jsonl back into to-process, to be taken again"
        assert told() == {"first": "launch this partition of mail/batch_outputs", "second": back}
        assert lab.run("batch_outputs", "first")
        lab.drop("second.jsonl", inbox_lab.lines(5))
        assert set(lab.finish().values()) == {"answered"}
        assert (len(lab.jobs()), told()) == (2, {})
