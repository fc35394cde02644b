"""The most tokens that a model writes; a request for more fails its record."""

from bedrock_assets.emulator.replies.base import RecordError

MAX_OUTPUT_TOKENS = {
    "claude-3-5-": 8192,
    "claude-3-7-": 131_072,
    "claude-3-": 4096,
    "claude-opus-4-1": 32_000,
    "claude-opus-4-2": 32_000,
    "claude-": 64_000,
    "nova-": 10_000,
}
"""By a part of the model id, the first that is found; models that are not listed have no ceiling here.

Source: model cards of Anthropic and Amazon, AWS user guide, 2026. `claude-opus-4-2` begins the dated id of Opus 4.
"""


def check_max_tokens(max_tokens: int, model_id: str) -> None:
    """
    Refuse what the model cannot write.

    Raises:
        RecordError: *max_tokens* is above the model's ceiling.
    """
    for part, ceiling in MAX_OUTPUT_TOKENS.items():
        if part in model_id:
            if max_tokens > ceiling:
                name = model_id.rsplit("/", 1)[-1]
                raise RecordError(
                    f"max_tokens: {max_tokens} > {ceiling}, which is the maximum allowed number of output tokens "
                    f"for {name}"
                )
            return
