"""What a model's words say about all other records, and what to change."""

import re
from typing import Any

import pytest

from bedrock_assets.jobs.refusals import KNOWN, Scope, fault_of_error, fault_of_outcome

EVERY, SOME, CALL = Scope.EVERY_RECORD, Scope.SOME_RECORD, Scope.ON_DEMAND
SAID = {
    "`temperature` is deprecated for this model.": (EVERY, "leave `temperature` out"),
    "`top_k` is deprecated for this model.": (EVERY, "leave `top_k` out"),
    "`temperature` and `top_p` cannot both be specified for this model. Please use only one.": (EVERY, "or `top_p`"),
    "The maximum tokens you requested exceeds the model limit of 4096. Try again": (EVERY, "`max_tokens: 4096`"),
    "max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens": (EVERY, "`max_tokens: 64000`"),
    "output_config.format: Extra inputs are not permitted": (EVERY, "`schema_mode: prompt`"),
    "Thinking may not be enabled when tool_choice forces tool use.": (EVERY, "`schema_mode: prompt`"),
    "adaptive thinking is not supported on this model": (EVERY, "correct `thinking`"),
    '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive"': (EVERY, "`thinking`"),
    "output_config.effort: Input should be 'low', 'medium' or 'high'": (EVERY, "correct `effort`"),
    "The schema has 17 union-typed parameters": (EVERY, "`schema_mode: prompt`"),
    "Malformed input request: #: extraneous key [max_token] is not permitted, please reformat": (EVERY, "`max_token`"),
    "some.thing: Extra inputs are not permitted": (EVERY, "take `some.thing` out"),
    "Malformed input request: #: required key [messages] not found": (EVERY, "`model_invocation_type: Converse`"),
    "The provided model identifier is invalid.": (EVERY, "inference profile"),
    "Access denied. This Model is marked by provider as Legacy and you have not": (EVERY, "not retired"),
    "This model version has reached the end of its life.": (EVERY, "not retired"),
    "You don't have access to the model with the specified model ID.": (EVERY, "request access"),
    "Model use case details have not been submitted for this account.": (EVERY, "request access"),
    "Invocation of model ID x with on-demand throughput isn\u2019t supported.": (CALL, "inference profile"),
    "User: arn is not authorized to perform: bedrock:InvokeModel on resource: x": (CALL, "allow bedrock:InvokeModel"),
    "Input is too long for requested model.": (SOME, "shorten the prompt"),
}


@pytest.mark.parametrize("message", SAID)
def test_words_are_understood(message: str) -> None:
    """Each message of a model tells what it concerns and what to change, whatever the error's code."""
    scope, cure = SAID[message]
    for code in ("ValidationException", "AccessDeniedException", "400"):
        fault = fault_of_error(code, message)
        assert (fault.message, fault.scope) == (message, scope)
        assert cure in fault.cure
        assert str(fault).count(". To do: ") == 1


def test_each_pattern_has_a_message() -> None:
    """No pattern is there for nothing, and none hides behind another."""
    first = {next(known for known in KNOWN if re.search(known.pattern, message)) for message in SAID}
    assert first == set(KNOWN)


@pytest.mark.parametrize(
    ("code", "scope"),
    [
        ("ValidationException", SOME),
        ("AccessDeniedException", CALL),
        ("ResourceNotFoundException", EVERY),
        ("ModelTimeoutException", Scope.PASSING),
        ("ModelErrorException", Scope.PASSING),
    ],
)
def test_other_words_count_by_their_code(code: str, scope: Scope) -> None:
    """A message that nobody has seen yet may be about one record, unless its code says otherwise."""
    assert fault_of_error(code, "Something new.").scope is scope


@pytest.mark.parametrize(
    ("outcome", "scope"),
    [
        ({"status": "ok"}, None),
        ({"error_code": "400", "error_message": "ValidationException: Something new."}, SOME),
        ({"error_code": "408", "error_message": "ModelTimeoutException: too slow"}, Scope.PASSING),
        ({"error_code": "schema", "error_message": "no JSON"}, Scope.ANSWER),
        ({"error_code": "schema", "error_message": "no JSON", "stop_reason": "max_tokens"}, SOME),
        ({"error_code": "truncated", "error_message": "cut"}, SOME),
        ({"error_code": "unrecognised_output", "error_message": "{"}, SOME),
        ({"error_code": "refusal", "error_message": "no"}, Scope.ANSWER),
        ({"error_code": "content_filtered", "error_message": "no"}, Scope.ANSWER),
        ({"error_code": "something_of_ours", "error_message": "no"}, Scope.PASSING),
        ({"error_code": None, "error_message": None}, Scope.PASSING),
    ],
)
def test_an_answer_that_is_no_use(outcome: dict[str, Any], scope: Scope | None) -> None:
    """An answer that is cut or cannot be read may be any record's; what the model chose to say is no fault of ours."""
    row = {"status": "error", "stop_reason": None, "error_code": None, "error_message": None} | outcome
    fault = fault_of_outcome(row, ("max_tokens",))
    assert (fault and fault.scope) is scope
