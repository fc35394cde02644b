"""
Everything this package raises on purpose.

    BedrockAssetsError
    ├── ConfigError            a pipeline's YAML, prompt or settings are wrong; nothing was written or sent
    │   ├── PromptError        a template does not parse, or names a column that the dataset does not have
    │   ├── UnknownModel       no model family is registered for a model id
    │   └── RetiredModel       the model is Legacy or has ended its life, and the pipeline does not allow that
    ├── DataError              the dataset cannot be used as it is; nothing was paid
    │   ├── EmptyDataset       the source has no rows
    │   ├── InvalidRecordIds   the id column has nulls or repeated values
    │   ├── ColumnClash        an input column has the name of an answer column
    │   ├── TooFewRecords      fewer records than Bedrock's minimum for a job
    │   ├── OverBudget         a launch would cost more than the pipeline's budget
    │   ├── StaleShard         a shard no longer matches what was planned; materialize upstream again
    │   └── InvalidInboxFile   a file in an inbox cannot be sent; it is left where it is
    ├── StoreError             the store cannot be read or written
    │   ├── BrokenFile         a file of the store is cut or damaged; materializing its asset writes it anew
    │   └── StoreConflict      [transient] another process published first; nothing of this one was published
    ├── EventsUnavailable      [transient] the queue of events cannot be read; nothing depends on it
    ├── MetricsUnavailable     [transient] CloudWatch cannot be read; nothing depends on it
    ├── ApprovalRefused        the canary's answers cannot be approved: there are none, or they miss a threshold
    ├── JobFailed              Bedrock ended a job without a usable answer
    └── BedrockError           a call to Bedrock was refused
        ├── PreflightFailed    a record was tried before the first job, and every other one would be refused like it
        └── BedrockUnavailable [transient] throttled, unreachable or out of quota: a later tick tries again

`retryable` says whether the same call may succeed later without a change. A bad *record* is never an exception: it is a
row with `status = "error"`.
"""

import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from pydantic import ValidationError


class BedrockAssetsError(Exception):
    """Root of all errors of this package; its text names the thing, the cause and the fix."""

    retryable: ClassVar[bool] = False


class ConfigError(BedrockAssetsError):
    """A pipeline's YAML, prompt or settings are wrong."""


class PromptError(ConfigError):
    """A prompt template does not parse, or names a column that the dataset does not have."""


class UnknownModel(ConfigError):
    """No model family is registered for a model id."""


class RetiredModel(ConfigError):
    """The model is Legacy or has ended its life, so its jobs would be refused or soon stop."""


class DataError(BedrockAssetsError):
    """The dataset cannot be used as it is."""


class EmptyDataset(DataError):
    """The source has no rows."""


class InvalidRecordIds(DataError):
    """The id column has nulls or repeated values."""


class ColumnClash(DataError):
    """An input column has the name of an answer column."""


class TooFewRecords(DataError):
    """There are fewer records than Bedrock accepts in one job."""


class OverBudget(DataError):
    """A launch would cost more than the pipeline's budget, or its cost is unknown."""


class StaleShard(DataError):
    """A shard no longer matches what was planned or formatted upstream."""


class InvalidInboxFile(DataError):
    """A file in an inbox cannot be sent as it is."""


class StoreError(BedrockAssetsError):
    """The store cannot be read or written."""


class BrokenFile(StoreError):
    """A file of the store is cut or damaged; materializing the asset that it belongs to writes it anew."""


class StoreConflict(StoreError):
    """Another process has written what this one was about to replace; the other's content stays."""

    retryable: ClassVar[bool] = True


class EventsUnavailable(BedrockAssetsError):
    """The queue of events cannot be read or changed, so jobs are looked at only at the usual interval."""

    retryable: ClassVar[bool] = True


class MetricsUnavailable(BedrockAssetsError):
    """CloudWatch cannot be read; work continues without its metrics."""

    retryable: ClassVar[bool] = True


class ApprovalRefused(BedrockAssetsError):
    """The canary's answers cannot be approved: there are none yet, or they do not meet the thresholds."""


class JobFailed(BedrockAssetsError):
    """Bedrock ended a job without a usable answer; the text has Bedrock's own message."""


class BedrockError(BedrockAssetsError):
    """A call to Bedrock was refused and would be refused again."""


class PreflightFailed(BedrockError):
    """A record was tried on demand before the first job, and every other one would be refused like it."""


class BedrockUnavailable(BedrockError):
    """Bedrock is throttling, unreachable or out of quota; the request itself may be fine."""

    retryable: ClassVar[bool] = True


@contextmanager
def panics_are_errors(what: str) -> Generator[None]:
    """
    Turn a panic of polars, which is not an `Exception` and would take the process down, into an error; a decorator too.

    Args:
        what: The work of the block, for the message.

    Raises:
        DataError: Polars has panicked.
    """
    try:
        yield
    except panics() as error:
        raise DataError(
            f"{what}: polars cannot handle a value of the data: {first_line(error)}. Leave out or rewrite the column "
            "that it is in"
        ) from error


def panics() -> tuple[type[BaseException], ...]:
    """
    The exception that a panic of polars is, for an `except` clause, which asks for it only when something was raised.

    None where polars is not loaded: it cannot have panicked, and loading it takes longer than `--help` does.
    """
    if "polars" not in sys.modules:
        return ()
    from polars.exceptions import PanicException

    return (PanicException,)


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type if it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def describe_validation_error(error: "ValidationError", *path: str) -> str:
    """
    The first problem that pydantic found, as `path.key: what is wrong`, in words for whoever wrote the YAML.

    Args:
        path: Keys above the validated value.
    """
    problem = error.errors()[0]
    key = ".".join([*path, *map(str, problem["loc"])])
    message = _expected(problem["type"], problem["input"]) or problem["msg"].removeprefix("Value error, ")
    return f"{key}: {message}" if key else message


def _expected(kind: str, value: object) -> str | None:
    """What should stand there and what does, for the commonest slips; None for all others."""
    if kind == "string_type":
        return _expected_text(value)
    if kind == "tuple_type" and not isinstance(value, Mapping):
        return f"a list is expected; write [{value}]"
    if kind == "tuple_type":
        return "a list is expected, and these are keys and values; write each item after a dash"
    if kind == "model_type":
        there = "there is nothing" if value is None else f"this is {value!r}"
        return f"keys and values are expected, and {there}; write `key: value` below it"
    return None


def _expected_text(value: object) -> str:
    if isinstance(value, Mapping) and set(value.values()) == {None}:  # pyright: ignore[reportUnknownArgumentType]
        written = f"{{{', '.join(map(str, value))}}}"  # pyright: ignore[reportUnknownArgumentType] - YAML
        return f"YAML reads {written} without quotes as keys; put it in quotes: '{written}'"
    if isinstance(value, bool):
        return f"a text is expected, and YAML reads this as {str(value).lower()}; put it in quotes"
    if isinstance(value, int | float):
        return "a text is expected, and this is a number; put it in quotes, with all its digits"
    if value is None:
        return "a text is expected, and there is nothing; write one in quotes"
    what = "keys and values" if isinstance(value, Mapping) else "a list" if isinstance(value, list | tuple) else "none"
    return f"a text is expected, and this is {what}; put it in quotes"
