"""
Faults to inject: what goes wrong, how often, and for which jobs.

Every decision is a hash of the seed, the kind of fault, the job name, and the record id or call number. So the same
faults strike the same records on every run. A job keeps the faults that were set when it was created.
"""

import json
import re
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from bedrock_assets.emulator.operations import OPERATIONS, Operation
from bedrock_assets.emulator.refusals import CreateRefusal


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return pattern


Regex = Annotated[str, AfterValidator(_compiles)]
Rate = Annotated[float, Field(ge=0, le=1)]
ModelError = Literal[
    "ModelTimeoutException", "ModelErrorException", "ModelNotReadyException", "ServiceUnavailableException"
]
AnswerFault = Literal["refusal", "content_filtered", "error_object"]
TokenCounts = Literal["told", "nulls", "absent"]
Refusal = Literal["ValidationException", "AccessDeniedException", "ResourceNotFoundException"]


class RecordErrorKind(BaseModel):
    """Error object of a record that a fault strikes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: int | str = Field(default=500, description="`errorCode`.")
    message: str = Field(default="Internal server error", description="`errorMessage`.")
    retryable: bool | None = Field(default=None, description="`retryable`; left out if None.")


class Faults(BaseModel):
    """Faults to inject; the default injects none. Rates are probabilities from 0 to 1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=0, description="Another seed strikes other calls and records.")
    only_names: Regex | None = Field(default=None, description="Strike only jobs whose name contains this pattern.")
    only_models: Regex | None = Field(
        default=None, description="Strike only jobs and calls whose modelId contains this pattern."
    )
    only_operations: frozenset[Operation] = Field(
        default=frozenset(OPERATIONS), description="Operations that faults of calls strike."
    )

    throttle_rate: Rate = Field(default=0, description="Calls answered with ThrottlingException, without effect.")
    server_error_rate: Rate = Field(
        default=0, description="Calls answered with InternalServerException, without effect."
    )
    lost_response_rate: Rate = Field(
        default=0,
        description="Create, InvokeModel and Converse calls, streamed or not, that take effect (are paid) and then "
        "answer 500.",
    )
    stream_error_rate: Rate = Field(
        default=0, description="Streams that end in the middle with modelStreamErrorException; they are paid."
    )
    model_error_rate: Rate = Field(default=0, description="On-demand calls answered with `model_error`; not paid.")
    model_error: ModelError = Field(default="ModelTimeoutException", description="The error of these calls.")
    latency_s: float = Field(default=0, ge=0, le=3600, description="Real seconds that every call waits.")
    access_denied: bool = Field(default=False, description="Calls are answered with AccessDeniedException.")
    refusal_message: str | None = Field(
        default=None, description="Calls are answered with `refusal` and this message, without effect."
    )
    refusal: Refusal = Field(default="ValidationException", description="The error of these calls.")
    create_refusal: CreateRefusal | None = Field(
        default=None, description="Create is answered as AWS answers to such a model, role or bucket, without effect."
    )

    record_error_rate: Rate = Field(
        default=0, description="Records that get an error line, or an error on demand: always the same records."
    )
    record_error_code: int | str = Field(default=500, description="`errorCode` of these lines.")
    record_error_message: str = Field(default="Internal server error", description="`errorMessage` of these lines.")
    record_error_retryable: bool | None = Field(
        default=None,
        description="`retryable` of these lines; left out if None. On demand, true strikes calls, not requests: "
        "the same request may succeed when it is sent again.",
    )
    record_error_kinds: tuple[RecordErrorKind, ...] = Field(
        default=(), description="Kinds of error instead of the one above; each record in error gets one of them."
    )
    answer_fault_rate: Rate = Field(
        default=0, description="Records whose answer is one of `answer_faults`; they count as successful."
    )
    answer_faults: Annotated[tuple[AnswerFault, ...], Field(min_length=1)] = Field(
        default=("refusal",),
        description="A refusal, an answer that a filter cuts in the middle, or an error object inside modelOutput; "
        "each struck record gets one of them.",
    )
    token_counts: TokenCounts = Field(
        default="told", description="Whether answers tell their tokens; if not, they are null or left out."
    )
    truncate_after: Rate | None = Field(
        default=None,
        description="Output ends in the middle of a line after this share of the job's records; counts and "
        "manifest do not show it.",
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
        description="Status in which it fails; InProgress writes the share partial_fraction, and no manifest.",
    )
    missing_manifest: bool = Field(default=False, description="No manifest.json.out is written.")
    late_manifest_s: float = Field(
        default=0, ge=0, description="Emulated seconds between the end of the job and its manifest."
    )
    early_output: bool = Field(
        default=False, description="Output files are visible, and grow, while the job is InProgress."
    )
    missing_event_rate: Rate = Field(default=0, description="Changes of a job's status of which no event tells.")
    duplicate_event_rate: Rate = Field(default=0, description="Changes of a job's status of which two events tell.")
    bucket_hidden_s: float = Field(
        default=0,
        ge=0,
        description="Emulated seconds for which a bucket cannot be read, after the first Create that names it.",
    )

    @classmethod
    def from_file(cls, path: Path, overrides: Mapping[str, object] | None = None) -> "Faults":
        """
        Read faults from a JSON file.

        Args:
            overrides: Settings that replace those of the file.

        Raises:
            ValueError: The file cannot be read, or is not a JSON object.
            pydantic.ValidationError: A key is unknown, or a value is out of bounds.
        """
        try:
            settings = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} cannot be read as JSON: {error}") from None
        if not isinstance(settings, dict):
            raise ValueError(f"{path} is not a JSON object")  # noqa: TRY004 - wrong content, not a wrong call
        return cls.model_validate({**cast("dict[str, object]", settings), **(overrides or {})})

    @property
    def fails_late(self) -> bool:
        """Whether a job fails after it wrote a part of its output."""
        return self.fail_message is not None and self.fail_at == "InProgress"

    def strikes_job(self, name: str, model_id: str) -> bool:
        """Whether faults of jobs and records apply to this job."""
        return all(
            pattern is None or re.search(pattern, text) is not None
            for pattern, text in ((self.only_names, name), (self.only_models, model_id))
        )

    def for_job(self, name: str, model_id: str) -> "Faults":
        """These faults if they apply to this job, else no faults."""
        return self if self.strikes_job(name, model_id) else Faults()

    def strikes_call(self, operation: Operation, request: Mapping[str, object]) -> bool:
        """Whether faults of calls apply. A filter by name or model matches only calls that have the name or model."""
        if operation not in self.only_operations:
            return False
        return self.strikes_job(str(request.get("jobName", "")), str(request.get("modelId", "")))

    def record_error(self, *key: object, call: int | None = None) -> RecordErrorKind | None:
        """
        The error of the record *key*, if a fault strikes it.

        Args:
            call: Number of the call, on demand. Retryable kinds depend on it, so that a retry may succeed.
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

    def answer_fault(self, *key: object) -> AnswerFault | None:
        """What is wrong with the answer to the record *key*, if a fault strikes it."""
        if not self.hits(self.answer_fault_rate, "answer", *key):
            return None
        return self.answer_faults[int(self.roll("answer kind", *key) * len(self.answer_faults))]

    def hits(self, rate: float, kind: str, *key: object) -> bool:
        """Whether the fault *kind* with probability *rate* strikes *key*; always the same for the same key."""
        return rate > 0 and self.roll(kind, *key) < rate

    def roll(self, kind: str, *key: object) -> float:
        """A number in [0, 1) that depends only on the seed, *kind* and *key*."""
        text = "\x1f".join(map(str, (self.seed, kind, *key)))
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=7).digest()
        return int.from_bytes(digest, "big") / (1 << 56)
