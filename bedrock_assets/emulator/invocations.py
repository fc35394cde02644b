"""What the on-demand lane has answered, kept so that a test can ask whether anything was paid twice."""

from dataclasses import dataclass

from bedrock_assets.emulator.jsontypes import JsonObject
from bedrock_assets.emulator.sqlite import Database

_SCHEMA = """
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


@dataclass(frozen=True)
class Invocations:
    """InvokeModel or Converse calls of one model that were answered, and so would have been billed."""

    operation: str
    model_id: str
    answered: int
    """Calls the model answered, those whose response was lost included; refused and throttled ones are not."""
    distinct: int
    """Different requests among them: fewer than `answered` when one was paid twice."""
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


class InvocationTable:
    """Counts invocations by operation, model and request."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.connection.executescript(_SCHEMA)

    def count(self, operation: str, model_id: str, request: bytes, tokens: tuple[int, int]) -> None:
        """
        Count one answered call.

        Args:
            request: A digest of what was asked.
            tokens: Input and output tokens of the answer.
        """
        self._database.connection.execute(
            "INSERT INTO invocations VALUES (?, ?, ?, 1, ?, ?) ON CONFLICT DO UPDATE SET answered = answered + 1, "
            "input_tokens = input_tokens + excluded.input_tokens, "
            "output_tokens = output_tokens + excluded.output_tokens",
            (operation, model_id, request, *tokens),
        )

    def summary(self) -> list[Invocations]:
        """One row for each operation and model that was called."""
        rows = self._database.connection.execute(
            "SELECT operation, model_id, sum(answered), count(*), sum(input_tokens), sum(output_tokens) "
            "FROM invocations GROUP BY operation, model_id"
        )
        return [Invocations(*row) for row in rows]
