"""What a model can do of what a pipeline asks: refused when the YAML is loaded, before anything is paid."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from difflib import get_close_matches
from typing import Any

from bedrock_assets.config import PipelineSpec, TextTask, WorkloadSpec, bare_id
from bedrock_assets.config.task import DEFAULT_MAX_TOKENS
from bedrock_assets.errors import ConfigError, RetiredModel
from bedrock_assets.families.base import Family, Kind, Task
from bedrock_assets.families.documents import MAX_DOCUMENTS
from bedrock_assets.models import Model, SchemaMode, catalogue, find_model

THINKING_TOKENS = 8192
"""Default `max_tokens` of a model that thinks, where no number of tokens is given for thinking."""
_ALL = ("top_k", "thinking", "effort")
BY_CONVERSE = {"anthropic": _ALL, "nova_2": _ALL, "nova": ("top_k",), "gpt_oss": ("effort",)}
"""Parameters that Converse hands on, by the model's own family."""
PLACES = ("inferenceConfig", "additionalModelRequestFields", "textGenerationConfig")
"""Objects within a request that hold parameters."""
TOGETHER = "temperature+top_p"
CORRECT = "; if the model takes it today, say so under `model_facts:`"
"""Our facts can be older than the model."""


def require_capable(spec: WorkloadSpec, family: Family, task: Task) -> None:
    """
    Refuse what the model cannot do, for the first model of *spec*.

    Raises:
        ConfigError: The family is for another kind of task, the model cannot run in batch, or it refuses a parameter.
    """
    facts = spec.facts_of(spec.model)
    wanted: Kind = "text" if isinstance(task, TextTask) else "embedding"
    if wanted != family.kind:
        raise ConfigError(_other_kind(spec, family, wanted))
    require_batch(spec)
    names = sorted({name for name, value in _named(task.request) if value != 1} & set(facts.refuses))
    if names:
        raise ConfigError(f"request: {_refusal(facts, names[0])}")
    if isinstance(task, TextTask):
        _require_parameters(task, family, facts)
        _require_images(task, family, facts)
        _require_documents(task, family, facts)
    if family.check:
        family.check(task, facts)


def require_batch(spec: WorkloadSpec) -> None:
    """
    Raises:
        ConfigError: The first model cannot run in a batch job.
    """
    facts = spec.facts_of(spec.model)
    if facts.batch is False:
        raise ConfigError(
            f"model: {facts.name} cannot run in a batch job; choose another one (`bedrock-assets models` shows "
            "them), or write `model_facts: {batch: true}` if it can today"
        )


def require_flex(spec: WorkloadSpec) -> None:
    """
    Raises:
        ConfigError: `on_small` is `flex`, and the first model, which answers on demand, does not have that tier.
    """
    if spec.on_small == "flex" and spec.facts_of(spec.model).flex is False:
        raise ConfigError(
            f"on_small: model {spec.model!r} has no flex tier; set `on_small: on_demand`, which costs the full price, "
            "or put a model with that tier, such as gpt-oss, Qwen3, DeepSeek V3 or Nova Pro, first under `model`"
        )


def _other_kind(spec: WorkloadSpec, family: Family, wanted: Kind) -> str:
    if wanted == "embedding" and spec.family is None and find_model(spec.model) is None:
        return (
            f"model {spec.model!r} is not in the catalogue of models, so it is not known how it takes texts to embed; "
            "correct the id, or name its format with `family:`"
        )
    return (
        f"model {bare_id(spec.model)!r} ({family.name}) is for {family.kind} tasks, but the task is {wanted}; "
        f"choose a model for {wanted}, or write `task: {{{family.kind}: ...}}`"
    )


def _refusal(facts: Model, name: str) -> str:
    return f"{facts.name} refuses {name} in every record; remove it{CORRECT}"


def _require_parameters(task: TextTask, family: Family, facts: Model) -> None:
    """
    Raises:
        ConfigError: The model refuses a parameter, or its request has no place for it.
    """
    written = _written(task)
    for name in ("stop_sequences", "top_k", "thinking", "effort"):
        if name in written and not _has_place(name, family, facts):
            raise ConfigError(
                f"{name}: the request of {facts.name} ({family.name}) has no such parameter; remove it, or write the "
                "model's own name for it under `request:`"
            )
    for name, value in written.items():
        # The newest Claude take no temperature but their own, which is 1.
        if name in facts.refuses and not (name in ("temperature", "top_p") and value == 1):
            raise ConfigError(f"{name}: {_refusal(facts, name)}")
    if TOGETHER in facts.refuses and written.keys() >= {"temperature", "top_p"}:
        raise ConfigError(
            f"temperature and top_p are both set, and {facts.name} fails every record that has both; remove "
            f"one{CORRECT}"
        )
    if facts.max_output is not None and task.max_tokens > facts.max_output:
        raise ConfigError(
            f"max_tokens: {task.max_tokens:,} is above the {facts.max_output:,} that {facts.name} writes at most; "
            f"lower it{CORRECT}"
        )
    _require_thinking(task, facts)


def _require_thinking(task: TextTask, facts: Model) -> None:
    if task.thinking is False and facts.thinking == "always":
        raise ConfigError(f"thinking: {facts.name} always thinks; remove `thinking: false`{CORRECT}")
    if task.thinking and facts.thinking == "none":
        raise ConfigError(f"thinking: {facts.name} cannot think; remove it{CORRECT}")
    if task.effort and "effort" in facts.model_fields_set and task.effort not in facts.effort:
        cure = f"choose one of: {', '.join(facts.effort)}" if facts.effort else "remove it"
        raise ConfigError(f"effort: {facts.name} has no {task.effort!r}; {cure}{CORRECT}")


def _has_place(name: str, family: Family, facts: Model) -> bool:
    if family.name != "converse" or name == "stop_sequences":
        return name in family.parameters
    # Converse hands a model's own parameters on, under the names that its family has for them.
    return name in BY_CONVERSE.get(facts.family or "", ())


def _written(task: TextTask) -> dict[str, Any]:
    names = ("temperature", "top_p", "top_k", "stop_sequences", "thinking", "effort", "system")
    values = {name: getattr(task, name) for name in names}
    return {name: value for name, value in values.items() if value is not None and value != ()}


def _require_images(task: TextTask, family: Family, facts: Model) -> None:
    if task.images and not (family.images and facts.images is not False):
        raise ConfigError(
            f"task.text.images: {facts.name} ({family.name}) does not take images here; remove them, or choose a "
            "model of anthropic or nova, or one that takes images with `model_invocation_type: Converse`"
        )


def _require_documents(task: TextTask, family: Family, facts: Model) -> None:
    if not task.documents:
        return
    if facts.documents is False:
        raise ConfigError(
            f"task.text.documents: {facts.name} takes no documents; remove them, or choose a model that does, such as "
            f"Claude, Nova Lite or Nova Pro{CORRECT}"
        )
    if not family.documents:
        raise ConfigError(
            f"task.text.documents: {facts.name} ({family.name}) does not take documents here; write "
            "`model_invocation_type: Converse`, which takes them for Nova and others, or choose a Claude model"
        )
    if len(task.documents) > MAX_DOCUMENTS:
        raise ConfigError(
            f"task.text.documents: {len(task.documents)} columns, but a request holds {MAX_DOCUMENTS} documents at "
            "most; remove some, or make rows of them"
        )


def _named(request: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Keys of a request where parameters stand, in the words of our own keys (`topK` is `top_k`), and their values."""
    for name, value in request.items():
        yield re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(name)).lower(), value
        if name in PLACES and isinstance(value, Mapping):
            yield from _named(value)


def thinks(task: Task, facts: Model) -> bool:
    """Whether the model thinks before it answers."""
    if not isinstance(task, TextTask):
        return False
    if task.thinking is None and task.effort and facts.family == "nova_2":
        return True  # Nova 2 has no effort but that of thinking
    return facts.thinking in ("default", "always") if task.thinking is None else bool(task.thinking)


def with_room(task: Task, facts: Model) -> Task:
    """The task, where nothing else is written with a `max_tokens` that leaves room for thinking."""
    if not isinstance(task, TextTask) or "max_tokens" in task.model_fields_set or not thinks(task, facts):
        return task
    budget = None if isinstance(task.thinking, bool) else task.thinking
    room = THINKING_TOKENS if budget is None else budget + DEFAULT_MAX_TOKENS
    values = {name: getattr(task, name) for name in TextTask.model_fields}
    values["max_tokens"] = min(room, facts.max_output or room)
    # A default is not written down as a setting, so that a later one does not change what was made with it.
    return TextTask.model_construct(_fields_set=task.model_fields_set, **values)


def choose_schema_mode(spec: PipelineSpec, family: Family, task: Task) -> tuple[SchemaMode, str | None]:
    """
    How a pipeline asks for a structured answer, and what to say if that is not what its YAML says.

    A way that the model does not take is replaced by its next one.
    """
    facts = spec.facts_of(spec.model)
    no_tool = thinks(task, facts) or "forced_tool" in facts.refuses
    if spec.schema_mode == "auto" and spec.family is not None and "schema_modes" not in facts.model_fields_set:
        # Of an ARN nothing is known but its format. Whether Claude takes which form depends on its version.
        return ("prompt" if family.name == "anthropic" else family.modes[0]), None
    able: list[SchemaMode] = [
        mode for mode in facts.schema_modes if mode in family.modes and not (mode == "tool" and no_tool)
    ]
    best: SchemaMode = able[0] if able else "prompt"
    wanted = spec.schema_mode
    if wanted == "auto" or wanted in (*able, "prompt"):
        return (best if wanted == "auto" else wanted), None
    is_said = wanted in facts.schema_modes or "schema_modes" not in facts.model_fields_set
    if wanted in family.modes and is_said and not (isinstance(task, TextTask) and task.thinking):
        return wanted, None
    return best, f"schema_mode: {facts.name} ({family.name}) does not take {wanted}, so {best} is used"


def require_living(spec: WorkloadSpec, today: date) -> None:
    """
    Refuse to pay for jobs of a model that is Legacy or has ended its life, unless `on_retired` is `warn`.

    Raises:
        RetiredModel: One of the models is.
    """
    if spec.on_retired == "warn":
        return
    for target in spec.targets:
        facts = spec.facts_of(target.model)
        if facts.stage(today) != "active":
            raise RetiredModel(
                f"model {target.model}: {facts.lifecycle_notice(today)}. Nothing was sent: choose a living model "
                "(`bedrock-assets models` shows them), or set `on_retired: warn` if your account may still use it"
            )


def notices(spec: WorkloadSpec, today: date | None = None) -> list[str]:
    """
    What people should know of the models of a pipeline or an inbox that is no error.

    Args:
        today: The day in whose light lifecycles are seen; by default that of the clock, in UTC.
    """
    today = today or datetime.now(UTC).date()
    found: list[str] = []
    for target in spec.targets:
        bare, facts = bare_id(target.model), spec.facts_of(target.model)
        if find_model(bare) is None and spec.family is None and spec.invocation_type is None:
            close = get_close_matches(bare, [bare_id(model.example or model.id) for model in catalogue().models], 1)
            found.append(
                f"model {bare!r} is not in the catalogue of models; it is asked by Converse, and nothing is known of "
                f"its limits. Correct the id{f' (is it {close[0]}?)' if close else ''}, or name its format with "
                "`family:`"
            )
        if notice := facts.lifecycle_notice(today):
            found.append(f"model {target.model}: {notice}")
        if facts.profile and bare == target.model:
            prefixes = " or ".join(f"{prefix}.{bare}" for prefix in (facts.profiles or ("us", "eu"))[:2])
            found.append(f"model: {facts.name} is called by an inference profile only, such as {prefixes}")
    return found
