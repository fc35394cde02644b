"""
The pre-flight: before the first job of a new form of request, one record is answered on demand.

A job waits for hours before its first record is tried. A parameter that the model refuses, a limit above its ceiling or
a form of schema that it does not take would fail all of them. So a launch first sends one of its own records with
InvokeModel or Converse, reads the answer as a job's, and is refused with the model's own words if none can succeed.

What has passed is remembered in the store, so that nights, other shards and edits of the prompt do not pay again. Of
several launches at once one asks and the others wait for it.
"""

import hashlib
import json
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from botocore.exceptions import ClientError

from bedrock_assets.aws.regions import Region, Regions
from bedrock_assets.aws.runtime import Runtime
from bedrock_assets.config.target import Target
from bedrock_assets.errors import BedrockError, BedrockUnavailable, PreflightFailed, StoreConflict
from bedrock_assets.jobs.refusals import Fault, Scope, fault_of_error, fault_of_outcome, unreachable
from bedrock_assets.jobs.shard_request import Request
from bedrock_assets.jobs.submit_turn import has_died
from bedrock_assets.outputs.buffers import buffer_for
from bedrock_assets.outputs.parse import Answers
from bedrock_assets.pipeline.workload import Workload
from bedrock_assets.prices import price_of, usd
from bedrock_assets.storage.keys import preflight_key
from bedrock_assets.storage.manifests import Document, InferenceMode, TokenCount
from bedrock_assets.storage.store import Store

MAX_RECORDS = 3
"""Records that are tried before a fault that one of them may have counts as one of all."""
MAX_AGE_S = 30 * 24 * 3600
"""Seconds for which a form of request that has passed is remembered: models change, and one record costs little."""
CLAIM_S = 330.0
"""Seconds after which a launch that was to ask is taken to be dead."""
POLL_S = 0.5
SWITCH_OFF = "`preflight: false` in the pipeline launches without this check"


class PreflightState(Document):
    """What is known of one form of request: `{pipeline}/preflight/{form}.json`."""

    target: str
    holder: str
    """Host, process id and time of the launch that asks or has asked."""
    asked_at: float
    """Seconds since 1970."""
    passed: bool = False


NO_TOKENS = TokenCount(0, 0)


@dataclass
class PreflightResult:
    """What was asked of one target, and what came of it."""

    target: str
    n_records: int = 0
    tokens: TokenCount = NO_TOKENS
    cost_usd: float | None = 0.0
    """On demand; None if the price or the tokens are not known."""
    passed: bool = False
    warnings: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        return f"pre-flight of {self.target} {'passed' if self.passed else 'tells nothing'}: {self.spent}"

    @property
    def spent(self) -> str:
        """What was asked and what it cost, for people."""
        cost = "cost unknown" if self.cost_usd is None else usd(self.cost_usd)
        return f"{self.n_records} answered on demand, {cost}"

    @property
    def metadata(self) -> dict[str, str | int | float]:
        """For Dagster."""
        told = {"input_tokens": self.tokens.n_input, "output_tokens": self.tokens.n_output}
        tokens = {name: n for name, n in told.items() if n is not None}
        cost = {"cost": "unknown"} if self.cost_usd is None else {"cost_usd": self.cost_usd}
        warnings = {"warnings": "\n".join(self.warnings)} if self.warnings else {}
        return {"preflight": str(self), "n_records": self.n_records, **tokens, **cost, **warnings}


@dataclass(frozen=True)
class Preflight:
    """
    The pre-flight of one launch.

    Args:
        open_runtime: The runtime of a Region, that gives up soon.
    """

    workload: Workload
    regions: Regions
    open_runtime: Callable[[Region], Runtime]

    @property
    def store(self) -> Store:
        """Where it is remembered what has passed."""
        return self.regions.store

    def run(self, requests: Sequence[Request]) -> list[PreflightResult]:
        """
        Try each of the pipeline's targets whose form of request has not passed yet.

        Args:
            requests: What is about to be sent; nothing is asked unless a job is among them.

        Returns:
            One result for each target that was asked.

        Raises:
            PreflightFailed: A model would refuse every record.
            StoreError: The prompts, or what has passed, cannot be read or written.
        """
        jobs = [request for request in requests if request.inference_mode is InferenceMode.BATCH and request.n_records]
        if not self.workload.preflight or not jobs:
            return []
        results = [self._run(target, jobs) for target in self.workload.spec.targets]
        return [result for result in results if result]

    def _run(self, target: Target, jobs: Sequence[Request]) -> PreflightResult | None:
        key = preflight_key(self.workload.spec.name, self._form(target))
        claim = self._claim(key, target)
        if claim is None:
            return None
        result = PreflightResult(target.name)
        try:
            self._ask(target, jobs, result)
        finally:
            if not result.passed:
                self.store.delete([key])
        if result.passed:
            self.store.write_model(key, claim.model_copy(update={"passed": True}))
        return result

    def _form(self, target: Target) -> str:
        """Hash of everything in a request but the row's own parts, and of where it goes."""
        spec, records = self.workload.spec, self.workload.records
        shared = records.shared_request if records else ""
        parts = [target.model, target.region, target.account, spec.model_invocation_type, spec.family, shared]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def _claim(self, key: str, target: Target) -> PreflightState | None:
        """The right to ask, once no other launch has it; None if the form of request has passed."""
        while True:
            version, now = self.store.version(key), time.time()
            found = self.store.read_intact(key, PreflightState)
            if found and found.passed and now - found.asked_at < MAX_AGE_S:
                return None
            if found is None or found.passed or now - found.asked_at > CLAIM_S or has_died(found.holder):
                holder = f"{socket.gethostname()}/{os.getpid()}/{now:.6f}"
                claim = PreflightState(target=target.name, holder=holder, asked_at=now)
                try:
                    self.store.replace_model(key, claim, version)
                except StoreConflict:
                    continue
                return claim
            time.sleep(POLL_S)

    def _ask(self, target: Target, jobs: Sequence[Request], result: PreflightResult) -> None:
        """
        Send records until one is answered, or it is clear that none will be, or that nothing can be told.

        Raises:
            PreflightFailed: No record can be answered.
        """
        region, faults = self.regions.at(target), list[Fault]()
        runtime = self.open_runtime(region)
        if not runtime.is_beside(region.bedrock.client):
            result.warnings.append("the endpoints of Bedrock and of its runtime are not of one service")
            return
        for line in _sample(self.store, jobs[0].prompts):
            fault = self._fault(runtime, target, line, result)
            if fault is None or fault.scope is Scope.ANSWER:
                result.passed = True
            if fault:
                faults.append(fault)
            if result.passed or (fault and fault.scope is not Scope.SOME_RECORD):
                break
        result.warnings += [str(fault) for fault in faults]
        decisive = [fault for fault in faults if fault.scope in (Scope.EVERY_RECORD, Scope.SOME_RECORD)]
        if faults and not result.passed and decisive == faults:
            raise self._refusal(target, faults, result)

    def _fault(self, runtime: Runtime, target: Target, line: str, result: PreflightResult) -> Fault | None:
        """What is wrong with a record's answer; None if nothing is."""
        workload = self.workload
        try:
            answer = runtime.answer(target.model, line, workload.spec.model_invocation_type, final=False)
        except BedrockUnavailable as error:
            return unreachable(str(error))
        except BedrockError as error:
            cause = error.__cause__
            code = cause.response.get("Error", {}).get("Code", "") if isinstance(cause, ClientError) else ""
            return fault_of_error(code, str(error))
        answers = Answers(workload.family, workload.schema, buffer_for(workload.dimensions))
        answers.add(answer.encode("utf-8", "replace"))
        outcome = answers.outcomes().row(0, named=True)
        if "modelOutput" in json.loads(answer):
            self._count(target, TokenCount(outcome["input_tokens"], outcome["output_tokens"]), result)
        return fault_of_outcome(outcome, workload.family.truncated)

    def _count(self, target: Target, tokens: TokenCount, result: PreflightResult) -> None:
        """Add what one answer has cost."""
        result.n_records += 1
        result.tokens += tokens
        price = price_of(self.workload.spec)
        key = f"{InferenceMode.ON_DEMAND} {target.model}"  # a model that is not among the others is the first
        result.cost_usd = price.standard.cost_usd({key: result.tokens}) if price else None

    def _refusal(self, target: Target, faults: Sequence[Fault], result: PreflightResult) -> PreflightFailed:
        fault = faults[-1] if faults[-1].scope is Scope.EVERY_RECORD else faults[0]
        tried = "a record" if len(faults) == 1 else f"all of {len(faults)} records"
        paid = f" ({result.spent})" if result.n_records else ""
        return PreflightFailed(
            f"nothing was sent: {target.name} gave no answer to {tried}, asked on demand before the first job{paid}. "
            f"It says: {fault}. {SWITCH_OFF}"
        )


def _sample(store: Store, prompts: str) -> list[str]:
    """Records from the beginning, the middle and the end of a file's first block."""
    for chunk in store.chunks(prompts):
        lines = [line for line in chunk.split(b"\n") if line.strip()]
        chosen = dict.fromkeys((0, len(lines) // 2, len(lines) - 1))
        return [lines[i].decode() for i in chosen][:MAX_RECORDS]
    return []
