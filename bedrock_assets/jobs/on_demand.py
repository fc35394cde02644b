"""Records on demand: the few records that make no job are answered one by one, and kept one by one."""

from collections.abc import Iterable, Iterator

from bedrock_assets.aws.runtime import Runtime
from bedrock_assets.errors import BedrockUnavailable
from bedrock_assets.jobs.shard_request import Request
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.shards.remainder import record_lines
from bedrock_assets.storage.keys import ON_DEMAND_FOLDER
from bedrock_assets.storage.store import Store
from bedrock_assets.threads import map_ordered

SUFFIX = ".jsonl.out"
MAX_FAILURES = 16
"""After so many failures and no answer the service is taken to be unreachable."""


def answer_on_demand(workload: Workload, store: Store, runtime: Runtime, request: Request, *, final: bool) -> None:
    """
    Call the model for each of the request's records that has no answer yet, several at once.

    Each answer is written as soon as it arrives, so that after a crash only the calls in progress are paid again.

    Args:
        final: Whether no later run will try: a record that could not be answered then has that as its error.

    Raises:
        BedrockUnavailable: Throttled or unreachable; answers that arrived are kept.
        BedrockError: The account may not call the model.
        StoreError: An answer cannot be written.
    """
    spec, folder = workload.spec, f"{request.output_folder}/{ON_DEMAND_FOLDER}"
    flex = spec.on_small == "flex"
    answered = {file.key.rpartition("/")[2].removesuffix(SUFFIX) for file in store.files(folder)}

    def call(record: tuple[str, str]) -> BedrockUnavailable | None:
        line, wire_id = record
        try:
            answer = runtime.answer(spec.model, line, spec.model_invocation_type, final=final, flex=flex)
        except BedrockUnavailable as error:
            return error
        store.put(f"{folder}/{wire_id}{SUFFIX}", answer.encode("utf-8", "replace"))
        return None

    unanswered = (record for record in _records(store, request) if record[1] not in answered)
    _require_answers(map_ordered(call, unanswered, spec.limits.max_concurrent_requests))


def _require_answers(errors: Iterable[BedrockUnavailable | None]) -> None:
    """One failed record does not keep the others from being called for; many failures and no answer do."""
    failures: list[BedrockUnavailable] = []
    n_answered = 0
    for error in errors:
        n_answered += error is None
        failures += [error] if error else []
        if len(failures) >= MAX_FAILURES and not n_answered:
            break
    if failures:
        raise failures[0]


def _records(store: Store, request: Request) -> Iterator[tuple[str, str]]:
    """Each record's line and id."""
    for chunk in store.chunks(request.prompts):
        yield from record_lines(chunk).select("line", "id").iter_rows()
