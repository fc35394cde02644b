"""The small tables beside the jobs: tags, on-demand invocations, and what faults delay."""

from dataclasses import dataclass

from bedrock_assets.emulator.database import Table
from bedrock_assets.emulator.exceptions import TooManyTagsException, ValidationException
from bedrock_assets.emulator.jsontypes import Json, JsonObject, as_list, as_object, as_str
from bedrock_assets.limits import MAX_TAGS


class TagTable(Table):
    """Tags of jobs."""

    SCHEMA = """
    CREATE TABLE IF NOT EXISTS tags (
        job_id TEXT NOT NULL,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (job_id, key)
    );
    """

    def of(self, job_id: str) -> list[Json]:
        """A job's tags as the wire shows them, in the order they were first set."""
        rows = self._execute("SELECT key, value FROM tags WHERE job_id = ? ORDER BY rowid", job_id)
        return [{"key": str(key), "value": str(value)} for key, value in rows]

    def put(self, job_id: str, tags: Json) -> None:
        """
        Add tags to a job, and replace the values of keys it has. Call it inside a transaction.

        Raises:
            ValidationException: A key begins with `aws:`, which is reserved.
            TooManyTagsException: The job would have more than fifty.
        """
        for tag in map(as_object, as_list(tags)):
            key = as_str(tag["key"])
            if key.lower().startswith("aws:"):
                raise ValidationException("aws: prefixed tag key names are not allowed for external use.")
            upsert = "INSERT INTO tags VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
            self._execute(upsert, job_id, key, as_str(tag["value"]))
        if len(self.of(job_id)) > MAX_TAGS:
            raise TooManyTagsException(f"The resource would have more than {MAX_TAGS} tags.")

    def remove(self, job_id: str, keys: Json) -> None:
        """Remove tags; keys that the job does not have are ignored."""
        for key in as_list(keys):
            self._execute("DELETE FROM tags WHERE job_id = ? AND key = ?", job_id, as_str(key))


class DelayTable(Table):
    """Late manifests, and when each bucket was first named. It survives a restart."""

    SCHEMA = """
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

    def add_manifest(self, job_id: str, region: str, due: float, manifest: str) -> None:
        """Keep a manifest until the time *due*."""
        self._execute("INSERT OR REPLACE INTO late_manifests VALUES (?, ?, ?, ?)", job_id, region, due, manifest)

    def due_manifests(self, now: float) -> list[tuple[str, str, str]]:
        """Job id, region and text of the manifests that are due."""
        rows = self._execute("SELECT job_id, region, manifest FROM late_manifests WHERE due <= ?", now)
        return [(str(job_id), str(region), str(manifest)) for job_id, region, manifest in rows]

    def drop_manifest(self, job_id: str) -> None:
        """Forget a manifest that was written."""
        self._execute("DELETE FROM late_manifests WHERE job_id = ?", job_id)

    def name_bucket(self, bucket: str, now: float) -> None:
        """Remember when a job first named a bucket."""
        self._execute("INSERT OR IGNORE INTO buckets VALUES (?, ?)", bucket, now)

    def named(self, bucket: str) -> float:
        """When a job first named this bucket; 0 if none did."""
        row = self._execute("SELECT named FROM buckets WHERE name = ?", bucket).fetchone()
        return float(row[0]) if row else 0.0


@dataclass(frozen=True)
class Invocations:
    """InvokeModel or Converse calls of one model that were answered, and so would have been billed."""

    operation: str
    model_id: str
    answered: int
    """Calls that the model answered, including lost responses but not refused or throttled calls."""
    distinct: int
    """Different requests among them; fewer than `answered` if one was paid twice."""
    input_tokens: int
    output_tokens: int

    def body(self) -> JsonObject:
        """As `GET /admin/invocations` shows it."""
        return {
            "operation": self.operation,
            "modelId": self.model_id,
            "answered": self.answered,
            "distinct": self.distinct,
            "inputTokens": self.input_tokens,
            "outputTokens": self.output_tokens,
        }


class InvocationTable(Table):
    """Counts invocations by operation, model and request, so that a test can see whether any was paid twice."""

    SCHEMA = """
    CREATE TABLE IF NOT EXISTS invocations (
        operation TEXT NOT NULL,
        model_id TEXT NOT NULL,
        request BLOB NOT NULL,
        answered INTEGER NOT NULL,
        input_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        PRIMARY KEY (operation, model_id, request)
    ) WITHOUT ROWID;
    """

    def count(self, operation: str, model_id: str, request: bytes, tokens: tuple[int, int]) -> None:
        """
        Count one answered call.

        Args:
            request: Digest of the request.
            tokens: Input and output tokens of the answer.
        """
        self._execute(
            "INSERT INTO invocations VALUES (?, ?, ?, 1, ?, ?) ON CONFLICT DO UPDATE SET answered = answered + 1, "
            "input_tokens = input_tokens + excluded.input_tokens, "
            "output_tokens = output_tokens + excluded.output_tokens",
            *(operation, model_id, request, *tokens),
        )

    def summary(self) -> list[Invocations]:
        """One row for each operation and model that was called."""
        rows = self._execute(
            "SELECT operation, model_id, sum(answered), count(*), sum(input_tokens), sum(output_tokens) "
            "FROM invocations GROUP BY operation, model_id"
        )
        return [Invocations(*row) for row in rows]
