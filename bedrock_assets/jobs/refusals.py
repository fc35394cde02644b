"""
What is wrong with a model's answer to one record, and what that says about all other records of the same request.

A parameter that the model does not take fails every record of a job, hours later. A text that is too long fails its own
record. Where the words do not tell, the error's kind does: see `Scope`.

Source of the messages: Amazon Bedrock's errors of InvokeModel and Converse as people have reported them, 2026-11.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, NamedTuple

from bedrock_assets.outputs.outcomes import SCHEMA_CODE
from bedrock_assets.outputs.unexplained import SEVERAL


class Scope(Enum):
    """What a fault concerns."""

    EVERY_RECORD = auto()
    """The request around the row's own parts, the model, or the account: a job would fail as a whole."""
    SOME_RECORD = auto()
    """This record, or all of them: other records tell."""
    ON_DEMAND = auto()
    """The call alone: a job may be accepted all the same."""
    PASSING = auto()
    """Throttled, out of reach, or something else that another call may not meet."""
    ANSWER = auto()
    """What the model said; the request was taken."""


@dataclass(frozen=True)
class Fault:
    """Why a record has no usable answer."""

    message: str
    """The model's own."""
    scope: Scope
    cure: str
    """What to change, as the end of a sentence."""

    def __str__(self) -> str:
        return f"{self.message.rstrip('. ')}. To do: {self.cure}"


class Known(NamedTuple):
    """A message that is understood."""

    pattern: str
    scope: Scope
    cure: str
    """With `{0}`, `{1}` for the groups of the pattern."""


_SCHEMA_MODE = "set `schema_mode: prompt`, which every model takes"
KNOWN = (
    Known(r"`?(temperature|top_p|top_k)`? is deprecated", Scope.EVERY_RECORD, "leave `{0}` out of the task"),
    Known(
        r"temperature`? and `?top_p`? cannot both be specified",
        Scope.EVERY_RECORD,
        "leave `temperature` or `top_p` out of the task",
    ),
    Known(
        r"maximum tokens you requested exceeds the model limit of (\d+)",
        Scope.EVERY_RECORD,
        "set `max_tokens: {0}`, or less",
    ),
    Known(r"max_tokens: \d+ > (\d+)", Scope.EVERY_RECORD, "set `max_tokens: {0}`, or less"),
    Known(
        r"output_config\.effort|reasoning_effort|maxReasoningEffort",
        Scope.EVERY_RECORD,
        "correct `effort`, or leave it out of the task",
    ),
    Known(
        r"output_config|output_format|response_format|outputConfig|grammar|union-typed",
        Scope.EVERY_RECORD,
        _SCHEMA_MODE,
    ),
    Known(r"tool_choice|toolConfig|toolChoice|tool use", Scope.EVERY_RECORD, _SCHEMA_MODE),
    Known(
        r"adaptive thinking|thinking\.type|budget_tokens|^\W*thinking\b",
        Scope.EVERY_RECORD,
        "correct `thinking`, or leave it out of the task",
    ),
    Known(r"extraneous key \[(\w+)\]", Scope.EVERY_RECORD, "take `{0}` out of the request: the model does not know it"),
    Known(r"([\w.]+): Extra inputs are not permitted", Scope.EVERY_RECORD, "take `{0}` out of the request"),
    Known(
        r"Malformed input request|doesn't support the model|not supported for this model",
        Scope.EVERY_RECORD,
        "set `model_invocation_type: Converse` or `InvokeModel`, or `family:`, so that the request is in the model's "
        "format",
    ),
    Known(
        r"model identifier is invalid|resolve the foundation model",
        Scope.EVERY_RECORD,
        "correct `model:`; newer models need the id of an inference profile, such as `us.` and the model's id",
    ),
    Known(
        r"marked by provider as Legacy|end of its life|end of life",
        Scope.EVERY_RECORD,
        "name a model that is not retired under `model:`",
    ),
    Known(
        r"don't have access to the model|use case details have not been submitted",
        Scope.EVERY_RECORD,
        "request access to the model in the Bedrock console, in the Region of its jobs",
    ),
    Known(
        r"on-demand throughput isn.t supported|with on-demand throughput",
        Scope.ON_DEMAND,
        "name an inference profile of the model under `model:`, if its jobs are refused too",
    ),
    Known(
        r"not authorized to perform: bedrock:InvokeModel",
        Scope.ON_DEMAND,
        "allow bedrock:InvokeModel, which the policy has that `bedrock-assets iam` prints",
    ),
    Known(
        r"[Ii]nput is too long|prompt is too long|too many input tokens",
        Scope.SOME_RECORD,
        "shorten the prompt, or set `limits.max_bytes_per_record` so that such rows are not sent",
    ),
)
"""The first pattern that is found counts."""
_LOOK = "compare the request with the model's documentation; `bedrock-assets sample` shows it"
_GO_ON = "nothing, if it has passed; jobs are created all the same"
_BY_CODE = {
    "AccessDeniedException": (Scope.ON_DEMAND, "allow bedrock:InvokeModel, and request access to the model"),
    "ResourceNotFoundException": (Scope.EVERY_RECORD, "correct `model:`, or its Region"),
    "ModelErrorException": (Scope.PASSING, _GO_ON),
    "ModelTimeoutException": (Scope.PASSING, _GO_ON),
}
"""What an error without known words concerns, and what to do; any other is `SOME_RECORD`."""
_MORE_TOKENS = "raise `max_tokens`, which thinking counts against too, or ask for less thinking"
_OF_ANSWERS = {
    "truncated": (Scope.SOME_RECORD, _MORE_TOKENS),
    "unrecognised_output": (
        Scope.SOME_RECORD,
        "set `family:` or `model_invocation_type`, so that the answer is read in the model's format, or correct "
        "`dimensions`",
    ),
    SEVERAL: (Scope.SOME_RECORD, "ask for one answer, and send one text in each record"),
    SCHEMA_CODE: (Scope.ANSWER, "make the schema or the prompt clearer, or set `repair: 1`"),
    "refusal": (Scope.ANSWER, "look at the prompt with `bedrock-assets sample --ask`"),
    "content_filtered": (Scope.ANSWER, "look at the prompt with `bedrock-assets sample --ask`"),
}
_OF_SERVICE = re.compile(r"\d+|\w+Exception")
"""Codes of errors that come from the service and not from reading an answer."""


def fault_of_error(code: str, message: str) -> Fault:
    """What an error of the service says, by its words and then by its code, such as `ValidationException`."""
    for known in KNOWN:
        if found := re.search(known.pattern, message):
            return Fault(message, known.scope, known.cure.format(*found.groups()))
    scope, cure = _BY_CODE.get(code, (Scope.SOME_RECORD, _LOOK))
    return Fault(message, scope, cure)


def unreachable(message: str) -> Fault:
    """The fault of a call that was throttled, or did not arrive."""
    return Fault(message, Scope.PASSING, _GO_ON)


def fault_of_outcome(outcome: Mapping[str, Any], truncated: Sequence[str]) -> Fault | None:
    """
    What is wrong with one row of `Answers.outcomes`; None if nothing is.

    Args:
        truncated: The family's stop reasons that mean that a limit on tokens cut the answer.
    """
    if outcome["status"] == "ok":
        return None
    code, message = str(outcome["error_code"] or ""), str(outcome["error_message"] or "no answer")
    if code == SCHEMA_CODE and outcome["stop_reason"] in truncated:
        code = "truncated"
    if code in _OF_ANSWERS:
        scope, cure = _OF_ANSWERS[code]
        return Fault(f"{code}: {message}", scope, cure)
    if not _OF_SERVICE.fullmatch(code):
        return Fault(f"{code}: {message}", Scope.PASSING, "look at the answer with `bedrock-assets sample --ask`")
    named = re.match(r"(\w+Exception): ", message)
    return fault_of_error(named[1] if named else code, message)
