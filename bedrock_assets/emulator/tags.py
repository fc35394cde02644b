"""Tags of jobs: TagResource, UntagResource and ListTagsForResource."""

from bedrock_assets.emulator.exceptions import TooManyTagsException, ValidationException
from bedrock_assets.emulator.jsontypes import Json, as_list, as_object, as_str
from bedrock_assets.emulator.sqlite import Database
from bedrock_assets.limits import MAX_TAGS

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tags (
    job_id TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (job_id, key)
);
"""


class TagTable:
    """Reads and writes the tags of jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.connection.executescript(_SCHEMA)

    def of(self, job_id: str) -> list[Json]:
        """A job's tags as the wire shows them, in the order they were first set."""
        rows = self._database.connection.execute(
            "SELECT key, value FROM tags WHERE job_id = ? ORDER BY rowid", (job_id,)
        )
        return [{"key": str(key), "value": str(value)} for key, value in rows]

    def put(self, job_id: str, tags: Json) -> None:
        """
        Add tags to a job, or change those whose keys it has; call it inside a transaction.

        Raises:
            ValidationException: A key begins with `aws:`, which is AWS's own.
            TooManyTagsException: The job would have more than fifty.
        """
        for tag in map(as_object, as_list(tags)):
            key = as_str(tag["key"])
            if key.lower().startswith("aws:"):
                raise ValidationException("aws: prefixed tag key names are not allowed for external use.")
            self._database.connection.execute(
                "INSERT INTO tags VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
                (job_id, key, as_str(tag["value"])),
            )
        if len(self.of(job_id)) > MAX_TAGS:
            raise TooManyTagsException(f"The resource would have more than {MAX_TAGS} tags.")

    def remove(self, job_id: str, keys: Json) -> None:
        """Remove tags; keys that the job does not have are passed over."""
        self._database.connection.executemany(
            "DELETE FROM tags WHERE job_id = ? AND key = ?", [(job_id, as_str(key)) for key in as_list(keys)]
        )
