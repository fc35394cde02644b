"""
The SQLite file and its table of jobs.

Each change is one committed transaction, so a killed process loses nothing and repeats nothing. The HTTP server and
the runner each have their own connection; in WAL mode one reads while the other writes.
"""

import json
import sqlite3
import threading
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from bedrock_assets.emulator.faults import Faults
from bedrock_assets.emulator.jsontypes import JsonObject, dump
from bedrock_assets.emulator.models import IN_FLIGHT, Counts, Job, JobStatus, model_key

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL UNIQUE,
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    token TEXT,
    model_key TEXT NOT NULL,
    request TEXT NOT NULL,
    faults TEXT NOT NULL,
    status TEXT NOT NULL,
    message TEXT,
    total INTEGER NOT NULL DEFAULT 0,
    processed INTEGER NOT NULL DEFAULT 0,
    success INTEGER NOT NULL DEFAULT 0,
    error INTEGER NOT NULL DEFAULT 0,
    submit_time REAL NOT NULL,
    modified_time REAL NOT NULL,
    end_time REAL,
    expires REAL NOT NULL,
    phase_time REAL NOT NULL,
    started INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX IF NOT EXISTS jobs_token ON jobs (region, token);
CREATE INDEX IF NOT EXISTS jobs_name ON jobs (region, name);
CREATE INDEX IF NOT EXISTS jobs_status ON jobs (status);
CREATE INDEX IF NOT EXISTS jobs_order ON jobs (region, seq);
CREATE INDEX IF NOT EXISTS jobs_order_of_status ON jobs (region, status, seq);
CREATE INDEX IF NOT EXISTS jobs_model ON jobs (region, model_key, status);
"""

_COPIED = ("job_id", "region", "name", "status", "submit_time", "modified_time", "expires", "phase_time")
"""Columns that a new job's attributes fill as they are."""


class Database:
    """One SQLite file, with a connection for each thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = threading.local()
        self._connections: list[sqlite3.Connection] = []
        path.parent.mkdir(parents=True, exist_ok=True)

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's connection, in autocommit mode."""
        connection: sqlite3.Connection | None = getattr(self._threads, "connection", None)
        if connection is None:
            # another thread closes it, after this one has ended
            connection = sqlite3.connect(self._path, isolation_level=None, timeout=30, check_same_thread=False)
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            self._threads.connection = connection
            self._connections.append(connection)
        return connection

    @contextmanager
    def transaction(self) -> Generator[None]:
        """Hold the write lock, so that nothing changes between a read and the write that follows."""
        connection = self.connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def close(self) -> None:
        """Close the connections of all threads."""
        for connection in self._connections:
            connection.close()


class Table:
    """Base of the tables: creates its schema, and runs statements on this thread's connection."""

    SCHEMA: ClassVar[str]

    def __init__(self, database: Database) -> None:
        self._database = database
        database.connection.executescript(self.SCHEMA)

    def _execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        return self._database.connection.execute(sql, values)


class JobVersion(NamedTuple):
    """Columns that change when a job does."""

    seq: int
    status: str
    modified_time: float
    total: int
    processed: int
    error: int


@dataclass(frozen=True)
class Where:
    """A condition on jobs, with its parameters."""

    sql: str = "1"
    values: tuple[str | float | int, ...] = ()

    def also(self, sql: str, *values: str | float | int) -> "Where":
        """This condition and another."""
        return Where(f"{self.sql} AND {sql}", (*self.values, *values))

    def status_in(self, statuses: Iterable[JobStatus]) -> "Where":
        """This condition, and the status is one of these."""
        names = tuple(statuses)
        return self.also(f"status IN ({','.join('?' * len(names))})", *names)


class JobTable(Table):
    """Reads and writes jobs."""

    SCHEMA = _SCHEMA

    def insert(self, job: Job) -> None:
        """Add a job; the table assigns its `seq`."""
        row: dict[str, str | float | int | None] = {
            **{name: getattr(job, name) for name in _COPIED},
            "token": token_of(job.request),
            "model_key": model_key(job.model_id),
            "request": dump(job.request),
            "faults": job.faults.model_dump_json(exclude_defaults=True),
        }
        sql = f"INSERT INTO jobs ({','.join(row)}) VALUES ({','.join('?' * len(row))})"  # noqa: S608 - fixed names
        self._execute(sql, *row.values())

    def move(self, job: Job, status: JobStatus, now: float, *, message: str | None = None) -> bool:
        """Give *job* another status, unless its status has changed since it was read; whether it did."""
        end_time = None if status in IN_FLIGHT else now
        cursor = self._execute(
            "UPDATE jobs SET status = ?, message = ?, modified_time = ?, phase_time = ?, end_time = ?, "
            "started = started OR ? WHERE job_id = ? AND status = ?",
            *(status, message, now, now, end_time, status == JobStatus.IN_PROGRESS, job.job_id, job.status),
        )
        return cursor.rowcount == 1

    def forget_token(self, job: Job) -> None:
        """Free the token of a job for another one."""
        self._execute("UPDATE jobs SET token = NULL WHERE job_id = ?", job.job_id)

    def set_counts(self, job_id: str, counts: Counts, now: float) -> None:
        """Record a job's progress. It never goes back, even when a restarted process repeats a part."""
        self._execute(
            "UPDATE jobs SET total = max(total, ?), processed = max(processed, ?), success = max(success, ?), "
            "error = max(error, ?), modified_time = ? WHERE job_id = ?",
            *(counts.total, counts.processed, counts.success, counts.error, now, job_id),
        )

    def find(self, where: Where, *, descending: bool = False, limit: int = -1) -> list[Job]:
        """Jobs that meet a condition, in the order of their creation or its reverse."""
        return [_job(row) for row in self._select("*", where, descending=descending, limit=limit)]

    def versions(self, where: Where, *, descending: bool, limit: int) -> list[JobVersion]:
        """Versions of the jobs that meet a condition, in the order of their creation or its reverse."""
        cursor = self._select(",".join(JobVersion._fields), where, descending=descending, limit=limit)
        cursor.row_factory = None
        return list(map(JobVersion._make, cursor))

    def _select(self, columns: str, where: Where, *, descending: bool, limit: int) -> sqlite3.Cursor:
        order = "DESC" if descending else "ASC"
        sql = f"SELECT {columns} FROM jobs WHERE {where.sql} ORDER BY seq {order} LIMIT ?"  # noqa: S608 - values are bound
        return self._execute(sql, *where.values, limit)

    def tally(self, where: Where, column: str) -> dict[str, int]:
        """Number of jobs that meet a condition, by value of *column*."""
        sql = f"SELECT {column}, count(*) FROM jobs WHERE {where.sql} GROUP BY 1"  # noqa: S608 - fixed names
        return {str(row[0]): int(row[1]) for row in self._execute(sql, *where.values)}

    def n_jobs(self, region: str, key: str, statuses: Iterable[JobStatus]) -> int:
        """Number of a model's jobs that have one of these statuses."""
        where = Where().also("region = ?", region).also("model_key = ?", key).status_in(statuses)
        return self.tally(where, "model_key").get(key, 0)

    def last_end(self, region: str, key: str) -> float:
        """When the last job of a model ended; 0 if none did."""
        rows = self._execute("SELECT max(end_time) FROM jobs WHERE region = ? AND model_key = ?", region, key)
        return float(rows.fetchone()[0] or 0)


def token_of(request: JsonObject) -> str | None:
    """`clientRequestToken` of a Create request."""
    token = request.get("clientRequestToken")
    return token if isinstance(token, str) else None


def _job(row: sqlite3.Row) -> Job:
    values = {name: row[name] for name in row.keys()}  # noqa: SIM118 - iterating a row gives its values
    counts = Counts(*(values.pop(name) for name in ("total", "processed", "success", "error")))
    for name in ("name", "token", "model_key"):  # read from the request
        del values[name]
    values |= {
        "request": json.loads(values["request"]),
        "faults": Faults.model_validate_json(values["faults"]),
        "status": JobStatus(values["status"]),
        "started": bool(values["started"]),
    }
    return Job(counts=counts, **values)
