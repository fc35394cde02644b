"""
Ask AWS whether an account may run batch jobs with a model: by the attempt to create one that has no input.

Neither the quotas nor the list of models tell: quotas are listed for accounts without entitlement too. Create does, and
it looks at the account, the model and the role before it looks at the input. So a job is created on a prefix that
cannot exist. Accepted, it fails in validation, and is stopped at once; no record is processed and nothing is billed. A
control model that is known to work tells a fault of the model from one of the role or of the account.

Source: field reports of CreateModelInvocationJob, 2026-11.
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from bedrock_assets.aws.model_invocation_jobs import NewJob
from bedrock_assets.aws.regions import Region
from bedrock_assets.config.target import Target
from bedrock_assets.errors import BedrockError, BedrockUnavailable
from bedrock_assets.jobs.shard_request import NAME_PREFIX
from bedrock_assets.limits import MIN_TIMEOUT_HOURS
from bedrock_assets.operations.probes import PROBE, CheckResult
from bedrock_assets.storage.store import Store

CONTROL = "amazon.titan-embed-text-v2:0"
"""Runs in batch in most Regions, without an inference profile and without a request for access. Source: supported
models of batch inference, Amazon Bedrock user guide, 2026-09."""


class Refusal(NamedTuple):
    """A message of Create that is understood."""

    words: str
    meaning: str
    cure: str


REFUSALS = (
    Refusal(
        "Your account is not authorized to perform this action",
        "the account is not entitled to batch inference with it",
        "create a support case, as the message says, or name another model; a quota in the console proves nothing",
    ),
    Refusal(
        "Batch inference is not supported for the requested model",
        "it does not run in batch in this Region",
        "name a model that does; a newer model needs the id of an inference profile, such as `us.` and the model's id",
    ),
    Refusal(
        "The provided model identifier is invalid",
        "the Region has no model of that id",
        "correct `model:`, or its Region; newer models need the id of an inference profile",
    ),
    Refusal(
        "marked by provider as Legacy",
        "it is retired for accounts that have not used it lately",
        "name a model that is not retired",
    ),
    Refusal("end of its life", "it is retired", "name a model that is not retired"),
)
"""Refusals of the model, or of the account for it."""
SETTINGS = (
    Refusal(
        "Cross-account pass role is not allowed",
        "the service role is in another account",
        "set BEDROCK_ASSETS_ROLE_ARN, or `role_arn` of the Region, to a role of the account in which the jobs run",
    ),
    Refusal(
        "iam:PassRole",
        "the caller may not pass the service role",
        "allow the caller_policy that `bedrock-assets iam` prints",
    ),
    Refusal(
        "bedrock:CreateModelInvocationJob",
        "the caller may not create jobs",
        "allow the caller_policy that `bedrock-assets iam` prints",
    ),
)
"""Refusals that say nothing of the model."""


@dataclass(frozen=True)
class Created:
    """What Create said to a job without input."""

    model: str
    arn: str = ""
    """Of the job, if it was accepted."""
    message: str = ""
    """Why it was not."""
    unreachable: bool = False

    @property
    def refusal(self) -> Refusal | None:
        """What the message means, if it is understood."""
        return next((one for one in (*REFUSALS, *SETTINGS) if one.words in self.message), None)


def probe_batch(region: Region, store: Store, targets: Sequence[Target], control: str) -> Iterator[CheckResult]:
    """
    Check models of one Region.

    Args:
        region: Where the jobs of *targets* run.
        store: The Region's bucket.
        control: Id of a model that is known to run in batch there.
    """
    known = _create(region, store, control)
    yield _result_of_control(known)
    for target in targets:
        created = known if target.model == control else _create(region, store, target.model)
        yield _result(target, created, known)


def _create(region: Region, store: Store, model: str) -> Created:
    name = f"{NAME_PREFIX}-{PROBE}-{secrets.token_hex(8)}"
    nowhere = store.uri(f"{PROBE}/{secrets.token_hex(16)}")
    job = NewJob(
        name=name,
        model=model,
        input_uri=f"{nowhere}/in/",
        output_uri=f"{nowhere}/out/",
        model_invocation_type="InvokeModel",
        timeout_hours=MIN_TIMEOUT_HOURS,
    )
    try:
        arn = region.bedrock.create(job)
    except BedrockUnavailable as error:
        return Created(model, message=str(error), unreachable=True)
    except BedrockError as error:
        return Created(model, message=str(error))
    with suppress(BedrockError):
        region.bedrock.stop(arn)  # without input it fails by itself as well
    return Created(model, arn)


def _result_of_control(known: Created) -> CheckResult:
    check = f"control model {known.model}"
    if known.unreachable:
        return CheckResult(check, "unknown", known.message, "try again")
    if known.arn:
        return CheckResult(check, "ok", f"{_accepted(known)}: the account may create jobs")
    if known.refusal is None:
        message = f"no job was accepted, so what is said to other models is held against this: {known.message}"
        return CheckResult(check, "warn", message, "name another model that works with --control")
    if known.refusal in SETTINGS:
        return CheckResult(check, "fail", f"{known.refusal.meaning}: {known.message}", known.refusal.cure)
    fix = f"name a model that works in this Region with --control; or, if none does, {known.refusal.cure}"
    return CheckResult(check, "warn", f"{known.refusal.meaning}: {known.message}", fix)


def _result(target: Target, created: Created, known: Created) -> CheckResult:
    check, refusal = f"batch support of {target.name}", created.refusal
    if created.unreachable:
        return CheckResult(check, "unknown", created.message, "try again")
    if created.arn:
        return CheckResult(check, "ok", _accepted(created))
    if refusal and refusal in SETTINGS:
        return CheckResult(check, "unknown", f"{refusal.meaning}: {created.message}", refusal.cure)
    if refusal is None and not known.unreachable and _words(created) == _words(known):
        message = f"the control model gets the same answer, so it is not about this model: {created.message}"
        return CheckResult(check, "ok", message)
    if refusal is None:
        return CheckResult(check, "unknown", created.message, "compare with the answer to the control model")
    beside = f" (the control model {known.model} is accepted)" if known.arn else ""
    return CheckResult(check, "fail", f"{refusal.meaning}{beside}: {created.message}", refusal.cure)


def _accepted(created: Created) -> str:
    job = created.arn.rpartition("/")[2]
    return f"job {job} was accepted; it has no input, was stopped, and costs nothing"


def _words(created: Created) -> str:
    """The message without what differs from call to call: the operation and the job's name."""
    return created.message.partition(": ")[2]
