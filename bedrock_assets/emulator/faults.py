"""
What goes wrong, how often, and for whom.

Every decision is a hash of (seed, kind of fault, job name, record id or call number), so the same faults on
the same jobs strike the same records on every run. A job keeps the faults that were set when it was created.
"""

import json
import re
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from bedrock_assets.emulator.operations import OPERATIONS, Operation


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return pattern


Rate = Annotated[float, Field(ge=0, le=1)]
ModelError = Literal[
    "ModelTimeoutException", "ModelErrorException", "ModelNotReadyException", "ServiceUnavailableException"
]
Regex = Annotated[str, AfterValidator(_compiles)]


class RecordErrorKind(BaseModel):
    """The error object of a record that is struck."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: int | str = Field(default=500, description="`errorCode`.")
    message: str = Field(default="Internal server error", description="`errorMessage`.")
    retryable: bool | None = Field(default=None, description="`retryable`, left out when None.")


class Faults(BaseModel):
    """Faults to inject; the default injects none. Rates are probabilities from 0 to 1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=0, description="Another seed strikes other calls and records.")
    only_names: Regex | None = Field(default=None, description="Strike only jobs whose name this pattern is found in.")
    only_models: Regex | None = Field(
        default=None, description="Strike only jobs and calls whose modelId this pattern is found in."
    )
    only_operations: frozenset[Operation] = Field(
        default=frozenset(OPERATIONS), description="Operations that the faults of calls strike."
    )

    throttle_rate: Rate = Field(default=0, description="Calls answered with ThrottlingException, without effect.")
    server_error_rate: Rate = Field(
        default=0, description="Calls answered with InternalServerException, without effect."
    )
    lost_response_rate: Rate = Field(
        default=0, description="Creates, InvokeModels and Converses that take effect (are paid) and then answer 500."
    )
    model_error_rate: Rate = Field(default=0, description="On-demand calls answered with `model_error`, unpaid.")
    model_error: ModelError = Field(default="ModelTimeoutException", description="What those calls answer.")
    latency_s: float = Field(default=0, ge=0, le=3600, description="Real seconds that every call waits.")
    access_denied: bool = Field(default=False, description="Calls are answered with AccessDeniedException.")

    record_error_rate: Rate = Field(
        default=0, description="Records that end in an error line, or on demand in an error answer: the same always."
    )
    record_error_code: int | str = Field(default=500, description="`errorCode` of those lines.")
    record_error_message: str = Field(default="Internal server error", description="`errorMessage` of those lines.")
    record_error_retryable: bool | None = Field(
        default=None,
        description="`retryable` of those lines, left out when None. On demand, true strikes calls, not requests: "
        "the same request may be answered when it is sent again.",
    )
    record_error_kinds: tuple[RecordErrorKind, ...] = Field(
        default=(), description="Kinds of error instead of the one above; each struck record gets one of them."
    )
    truncate_after: Rate | None = Field(
        default=None,
        description="Output ends in the middle of a line after this share of the job's records; the counts "
        "and the manifest know nothing of it.",
    )
    malformed_line_rate: Rate = Field(default=0, description="Output lines cut short, so that they are not JSON.")
    missing_record_rate: Rate = Field(default=0, description="Records without an output line.")
    duplicate_record_rate: Rate = Field(default=0, description="Records with their output line twice.")

    partial_fraction: Rate | None = Field(
        default=None, description="End PartiallyCompleted after this share of the records."
    )
    mark_expired: bool = Field(
        default=False, description='Unprocessed records get an error line with `"expired": true`.'
    )
    expire: bool = Field(default=False, description="End Expired, from Scheduled.")
    fail_message: str | None = Field(default=None, description="End Failed with this message.")
    fail_at: Literal["Validating", "InProgress"] = Field(
        default="Validating",
        description="Where it fails; InProgress writes what partial_fraction says, and no manifest.",
    )
    missing_manifest: bool = Field(default=False, description="No manifest.json.out is written.")
    late_manifest_s: float = Field(
        default=0, ge=0, description="Emulated seconds between the end of the job and its manifest."
    )
    early_output: bool = Field(
        default=False, description="Output files can be seen, and grow, while the job is still InProgress."
    )
    bucket_hidden_s: float = Field(
        default=0,
        ge=0,
        description="Emulated seconds for which a bucket cannot be read, from the first Create that names it.",
    )

    @classmethod
    def from_file(cls, path: Path, more: Mapping[str, object] | None = None) -> "Faults":
        """
        Read faults from a JSON file.

        Args:
            more: Settings that take the place of the file's own.

        Raises:
            ValueError: The file is not a JSON object.
            pydantic.ValidationError: A key is unknown or a value out of bounds; it names the key.
        """
        settings = json.loads(path.read_bytes())
        if not isinstance(settings, dict):
            raise ValueError(f"{path} is not a JSON object")  # noqa: TRY004 - a value's fault, not a caller's
        return cls.model_validate({**cast("dict[str, object]", settings), **(more or {})})

    @property
    def fails_late(self) -> bool:
        """Whether a job fails after it made a part of its output."""
        return self.fail_message is not None and self.fail_at == "InProgress"

    def strikes_job(self, name: str, model_id: str) -> bool:
        """Whether the faults of jobs and records apply to this job."""
        return all(
            pattern is None or re.search(pattern, text) is not None
            for pattern, text in ((self.only_names, name), (self.only_models, model_id))
        )

    def for_job(self, name: str, model_id: str) -> "Faults":
        """These faults if they apply to this job, else none."""
        return self if self.strikes_job(name, model_id) else Faults()

    def strikes_call(self, operation: Operation, request: Mapping[str, object]) -> bool:
        """Whether the faults of calls apply; with a filter set, only calls that name the job can match it."""
        if operation not in self.only_operations:
            return False
        return self.strikes_job(str(request.get("jobName", "")), str(request.get("modelId", "")))

    def record_error(self, *key: object, call: int | None = None) -> RecordErrorKind | None:
        """
        The error that strikes the record *key*, if one does.

        Args:
            call: Number of the call, on demand; it decides about retryable kinds, so that a retry may succeed.
        """
        if not self.record_error_rate:
            return None
        own = RecordErrorKind(
            code=self.record_error_code, message=self.record_error_message, retryable=self.record_error_retryable
        )
        kinds = self.record_error_kinds or (own,)
        kind = kinds[int(self.roll("error kind", *key) * len(kinds))]
        transient = (call,) if call is not None and kind.retryable else ()
        return kind if self.hits(self.record_error_rate, "record error", *key, *transient) else None

    def hits(self, rate: float, kind: str, *key: object) -> bool:
        """Whether the fault *kind* with probability *rate* strikes *key*: always the same answer."""
        return rate > 0 and self.roll(kind, *key) < rate

    def roll(self, kind: str, *key: object) -> float:
        """A number in [0, 1) that depends on the seed, *kind* and *key* only."""
        text = "\x1f".join(map(str, (self.seed, kind, *key)))
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=7).digest()
        return int.from_bytes(digest, "big") / (1 << 56)
