"""What the labs' instances in memory promise."""

from pathlib import Path
from threading import Thread

import dagster as dg
import sqlalchemy

from tests.labs.instances import in_memory


@dg.asset(check_specs=[dg.AssetCheckSpec("whole", asset="shelf")])
def shelf() -> dg.MaterializeResult:
    """An asset with a check."""
    return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True)])


@dg.asset
def number() -> int:
    """An asset that is stored."""
    return 1


def rows(instance: dg.DagsterInstance) -> dict[str, int]:
    """How many rows each table has."""
    found: dict[str, int] = {}
    for storage in (instance.run_storage, instance.event_log_storage):
        with storage._engine.begin() as opened:
            tables = map(sqlalchemy.table, sqlalchemy.inspect(opened).get_table_names())
            counts = {each.name: sqlalchemy.select(sqlalchemy.func.count()).select_from(each) for each in tables}
            found |= {name: opened.execute(count).scalar_one() for name, count in counts.items()}
    return found


def test_the_next_test_finds_it_empty() -> None:
    """Runs, events, checks, partitions, limits and cursors of a test are gone, and what its assets stored."""
    with in_memory() as first:
        new = rows(first)
        assert dg.materialize([shelf, number], instance=first).success
        stored = Path(first.storage_directory()) / "number"
        assert stored.exists()
        first.add_dynamic_partitions("days", ["monday"])
        first.run_storage.set_cursor_values({"somewhere": "here"})
        first.event_log_storage.set_concurrency_slots("pool", 2)
        assert {name for name, n in rows(first).items() if n > new[name]} >= {
            "runs",
            "event_logs",
            "asset_check_executions",
            "dynamic_partitions",
            "concurrency_limits",
            "kvs",
        }
    with in_memory() as second:
        assert second is first
        assert not stored.exists()
        assert rows(second) == new
        assert dg.materialize([shelf, number], instance=second).success


def test_it_is_for_one_thread() -> None:
    """Another thread is told, each time and not only when a table is locked."""
    found = list[BaseException]()

    def look(instance: dg.DagsterInstance) -> None:
        try:
            instance.get_runs(limit=1)
        except AssertionError as error:
            found.append(error)

    with in_memory() as instance:
        thread = Thread(target=look, args=[instance])
        thread.start()
        thread.join()
    assert "open it on disk" in str(found[0])
