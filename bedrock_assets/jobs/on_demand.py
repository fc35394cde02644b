"""On demand: the few records that make no job are answered one by one, and kept one by one."""

from collections.abc import Iterable, Iterator

from bedrock_assets.aws.runtime import Runtime
from bedrock_assets.errors import BedrockUnavailable
from bedrock_assets.jobs.request import Request
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.shards.remainder import record_lines
from bedrock_assets.storage.keys import ON_DEMAND_FOLDER, attempt_folder
from bedrock_assets.storage.store import Store
from bedrock_assets.threads import map_ordered

SUFFIX = ".jsonl.out"
MOST_FAILURES = 16
"""After so many failures and no answer the service is taken to be away."""


def answer_on_demand(pipeline: Workload, store: Store, runtime: Runtime, request: Request, *, final: bool) -> None:
    """
    Ask the model for each of the request's records that has no answer yet, several at once.

    Each answer is written as soon as it is there, so that a crash pays again at most for the calls under way.

    Args:
        final: Whether nobody will try again: a record that could not be asked about then has that as its error.

    Raises:
        BedrockUnavailable: Throttled or unreachable; what was answered is kept.
        BedrockError: The account may not call the model.
        StoreError: An answer cannot be written.
    """
    spec = pipeline.spec
    folder = attempt_folder(spec.name, request.shard, request.fingerprint, request.attempt, request.folder)
    kept = {file.key.rpartition("/")[2].removesuffix(SUFFIX) for file in store.files(f"{folder}/{ON_DEMAND_FOLDER}")}

    def ask(record: tuple[str, str]) -> BedrockUnavailable | None:
        line, wire_id = record
        try:
            answer = runtime.answer(spec.model, line, spec.model_invocation_type, final=final)
        except BedrockUnavailable as error:
            return error
        store.put(f"{folder}/{ON_DEMAND_FOLDER}/{wire_id}{SUFFIX}", answer.encode("utf-8", "replace"))
        return None

    waiting = (record for record in _records(store, request) if record[1] not in kept)
    _require_answers(map_ordered(ask, waiting, spec.limits.max_concurrent_requests))


def _require_answers(outcomes: Iterable[BedrockUnavailable | None]) -> None:
    """One record's trouble does not keep the others from being asked about; trouble with all of them does."""
    failed: list[BedrockUnavailable] = []
    n_answered = 0
    for error in outcomes:
        n_answered += error is None
        failed += [error] if error else []
        if len(failed) >= MOST_FAILURES and not n_answered:
            break
    if failed:
        raise failed[0]


def _records(store: Store, request: Request) -> Iterator[tuple[str, str]]:
    for chunk in store.chunks(request.prompts):
        yield from record_lines(chunk).select("line", "id").iter_rows()
