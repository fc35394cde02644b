"""What faults hold back: manifests that come late, buckets that cannot be read yet."""

from bedrock_assets.emulator.sqlite import Database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS late_manifests (
    job_id TEXT PRIMARY KEY,
    region TEXT NOT NULL,
    due REAL NOT NULL,
    manifest TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS buckets (
    name TEXT PRIMARY KEY,
    named REAL NOT NULL
);
"""


class WaitingTable:
    """Keeps what is held back, so that a restart forgets none of it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.connection.executescript(_SCHEMA)

    def hold_manifest(self, job_id: str, region: str, due: float, manifest: str) -> None:
        """Keep a manifest until the time *due*."""
        self._database.connection.execute(
            "INSERT OR REPLACE INTO late_manifests VALUES (?, ?, ?, ?)", (job_id, region, due, manifest)
        )

    def due_manifests(self, now: float) -> list[tuple[str, str, str]]:
        """Job id, Region and text of the manifests that are to be written by now."""
        rows = self._database.connection.execute(
            "SELECT job_id, region, manifest FROM late_manifests WHERE due <= ?", (now,)
        )
        return [(str(job_id), str(region), str(manifest)) for job_id, region, manifest in rows]

    def drop_manifest(self, job_id: str) -> None:
        """Forget a manifest that was written."""
        self._database.connection.execute("DELETE FROM late_manifests WHERE job_id = ?", (job_id,))

    def name_bucket(self, bucket: str, now: float) -> None:
        """Remember when a job first named a bucket."""
        self._database.connection.execute("INSERT OR IGNORE INTO buckets VALUES (?, ?)", (bucket, now))

    def named(self, bucket: str) -> float:
        """When a job first named this bucket; 0 if none did."""
        row = self._database.connection.execute("SELECT named FROM buckets WHERE name = ?", (bucket,)).fetchone()
        return float(row[0]) if row else 0.0
