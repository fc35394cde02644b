"""
Everything this package raises on purpose.

    BedrockAssetsError
    ├── ConfigError            the pipeline's YAML, prompt or settings are wrong; nothing was written or sent
    │   ├── PromptError        a template that does not parse, or names a column the dataset lacks
    │   └── UnknownModel       no model family is registered for a model id
    ├── DataError              the dataset cannot be used as it is; nothing was paid
    │   ├── EmptyDataset
    │   ├── InvalidRecordIds             the id column has nulls or repeated values
    │   ├── ColumnClash        an input column has the name of an answer column
    │   ├── TooFewRecords      fewer records than Bedrock's minimum for a job
    │   ├── OverBudget         a launch would cost more than the pipeline may
    │   ├── StaleShard         a shard no longer fits what was planned; materialize upstream again
    │   └── InvalidInboxFile            a file in an inbox cannot be sent; it is left where it is
    ├── StoreError             the store cannot be read or written
    │   └── StoreConflict      [transient] another process has published meanwhile; nothing of this one was
    ├── EventsUnavailable      [transient] the queue of events cannot be read; nothing depends on it
    ├── MetricsUnavailable     [transient] CloudWatch cannot be read; nothing depends on it
    ├── JobFailed              Bedrock ended a job without a usable answer
    └── BedrockError           a call to Bedrock was refused
        └── BedrockUnavailable [transient] throttled, unreachable or out of quota: a later tick tries again

`retryable` tells whether the same call may succeed later without a change. A bad *record* is never an
exception: it is a row with `status = "error"`.
"""

from typing import ClassVar


class BedrockAssetsError(Exception):
    """Root of all errors of this package; its text names the thing, the cause and the cure."""

    retryable: ClassVar[bool] = False


class ConfigError(BedrockAssetsError):
    """A pipeline's YAML, prompt or settings are wrong."""


class PromptError(ConfigError):
    """A prompt template does not parse, or names a column that the dataset does not have."""


class UnknownModel(ConfigError):
    """No model family is registered for a model id."""


class DataError(BedrockAssetsError):
    """The dataset cannot be used as it is."""


class EmptyDataset(DataError):
    """The source has no rows."""


class InvalidRecordIds(DataError):
    """The named id column has nulls or repeated values."""


class ColumnClash(DataError):
    """An input column has the name of an answer column."""


class TooFewRecords(DataError):
    """There are fewer records than Bedrock accepts in one job."""


class OverBudget(DataError):
    """A launch would cost more than the pipeline's budget, or nobody can tell."""


class StaleShard(DataError):
    """A shard no longer matches what was planned or formatted upstream."""


class InvalidInboxFile(DataError):
    """A file that was dropped into an inbox cannot be sent as it is."""


class StoreError(BedrockAssetsError):
    """The store cannot be read or written."""


class StoreConflict(StoreError):
    """Another process has written what this one was about to replace, and what it wrote stays."""

    retryable: ClassVar[bool] = True


class EventsUnavailable(BedrockAssetsError):
    """The queue of events cannot be read or changed: jobs are looked at no earlier than at the next interval."""

    retryable: ClassVar[bool] = True


class MetricsUnavailable(BedrockAssetsError):
    """CloudWatch cannot be read: the work goes on without its metrics."""

    retryable: ClassVar[bool] = True


class JobFailed(BedrockAssetsError):
    """Bedrock ended a job without a usable answer; the text carries Bedrock's own message."""


class BedrockError(BedrockAssetsError):
    """A call to Bedrock was refused and would be refused again."""


class BedrockUnavailable(BedrockError):
    """Throttled, unreachable or out of quota: nothing is wrong with the request."""

    retryable: ClassVar[bool] = True
