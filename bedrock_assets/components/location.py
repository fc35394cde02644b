"""What a code location holds: the pipelines and inboxes that fit together, those that do not, sensors and resources."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from bedrock_assets.components.broken import Broken
from bedrock_assets.config.workload import WorkloadSpec
from bedrock_assets.errors import ConfigError
from bedrock_assets.inbox.inbox import Inbox, require_separate_folders
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.project import clashes
from bedrock_assets.resources.environment import EVENTS_QUEUE, resources
from bedrock_assets.sensors.alerts import Alerts, build_alerts
from bedrock_assets.sensors.jobs import INTERVAL_S, build_schedules, build_sensors

SENSOR_INTERVAL = "BEDROCK_ASSETS_SENSOR_INTERVAL_S"


@dataclass(frozen=True)
class Location:
    """All pipelines and inboxes of a code location, in the order of their names."""

    pipelines: Sequence[Pipeline]
    inboxes: Sequence[Inbox]
    broken_tables: Mapping[str, dg.AssetKey] = field(default_factory=dict[str, dg.AssetKey])
    """Keys of the tables of pipelines that cannot be loaded, by name."""

    @classmethod
    def of(cls, owners: Iterable[tuple[str, Pipeline | Inbox]]) -> "Location":
        """
        Args:
            owners: Each with where it is from.

        Raises:
            ConfigError: Two of them share a name or a folder, or one reads the table of a pipeline that is not there.
        """
        placed = list(owners)
        for fault in misfits(placed).values():
            raise fault
        return cls.of_whole([owner for _, owner in placed])

    @classmethod
    def of_whole(
        cls, owners: Iterable[Pipeline | Inbox], tables: Mapping[str, dg.AssetKey] | None = None
    ) -> "Location":
        """
        Args:
            owners: Those that fit together.
            tables: Keys of the tables of pipelines that cannot be loaded.
        """
        known = sorted(owners, key=lambda owner: owner.spec.name)
        return cls(
            [owner for owner in known if isinstance(owner, Pipeline)],
            [owner for owner in known if isinstance(owner, Inbox)],
            tables or {},
        )

    def table_of(self, pipeline: str | None) -> dg.AssetKey | None:
        """The key of a pipeline's table."""
        specs = (owner.spec for owner in self.pipelines)
        own = next((dg.AssetKey(spec.key_of("joined_table")) for spec in specs if spec.name == pipeline), None)
        return own or self.broken_tables.get(pipeline or "")

    @property
    def specs(self) -> list[WorkloadSpec]:
        """All specs."""
        specs: list[WorkloadSpec] = [*(p.spec for p in self.pipelines), *(i.spec for i in self.inboxes)]
        return sorted(specs, key=lambda spec: spec.name)

    def shared(self, own_resources: Mapping[str, Any]) -> dg.Definitions:
        """
        All sensors and resources; where nothing can be loaded, there is nothing for sensors to do.

        These settings are read now, because Dagster takes the sensors that there are, and their intervals, from the
        definitions: the interval, whether there is a queue of events, and where alerts go. All others are read when a
        resource is opened.

        Raises:
            ConfigError: One of these settings is wrong.
        """
        interval_s, has_queue = _interval_s(), bool(os.environ.get(EVENTS_QUEUE))
        if not (self.pipelines or self.inboxes):
            return dg.Definitions(resources={**resources(), **own_resources})
        sensors = [
            *build_sensors(self.pipelines, interval_s, self.inboxes, has_queue=has_queue),
            *build_alerts(self.pipelines, Alerts.from_environment(), interval_s),
        ]
        schedules = build_schedules(self.pipelines)
        return dg.Definitions(sensors=sensors, schedules=schedules, resources={**resources(), **own_resources})


@dataclass(frozen=True)
class Site:
    """The components of a code location by their positions: those that work together, and why the others do not."""

    location: Location
    broken: Mapping[int, Broken]
    shown: frozenset[int]
    """Of the broken ones, those whose assets say so: one for each name."""

    @classmethod
    def of(cls, members: Sequence[tuple[str, Pipeline | Inbox | Broken]]) -> "Site":
        """
        Args:
            members: Each with where it is from.
        """
        broken = {i: member for i, (_, member) in enumerate(members) if isinstance(member, Broken)}
        whole = {i: (place, one) for i, (place, one) in enumerate(members) if not isinstance(one, Broken)}
        for find in (_namesakes, _misfits):
            positions, names = list(whole), {one.name for one in broken.values() if one.name}
            for position, error in find(list(whole.values()), names).items():
                broken[positions[position]] = Broken.of_owner(error, *whole.pop(positions[position]))
            taken = {owner.spec.name for _, owner in whole.values()}
            broken = {i: one.without(taken) for i, one in broken.items()}
        first = {(one.name, one.stands_for): i for i, one in sorted(broken.items(), reverse=True)}
        tables = {one.name: one.table for one in broken.values() if one.name and one.table}
        return cls(Location.of_whole([owner for _, owner in whole.values()], tables), broken, frozenset(first.values()))

    @property
    def errors(self) -> str:
        """All errors, each on its line."""
        return "\n".join(dict.fromkeys(str(one.error) for one in self.broken.values()))


def misfits(owners: Sequence[tuple[str, Pipeline | Inbox]], broken: Iterable[str] = ()) -> dict[int, ConfigError]:
    """
    What cannot be in a code location together.

    Args:
        owners: Each with where it is from.
        broken: Names of those that cannot be loaded for other reasons.

    Returns:
        By index, why a pipeline or an inbox is none of the location; the message begins with where it is from.
    """
    faults = {**_misfits(owners, broken), **_namesakes(owners, broken)}
    return dict(sorted(faults.items(), key=lambda item: owners[item[0]][0]))


def _namesakes(owners: Sequence[tuple[str, Pipeline | Inbox]], _: Iterable[str]) -> dict[int, ConfigError]:
    return clashes([(place, owner.spec.name) for place, owner in owners])


def _misfits(owners: Sequence[tuple[str, Pipeline | Inbox]], broken: Iterable[str]) -> dict[int, ConfigError]:
    return {**_in_circles(owners), **_without_source(owners, broken), **_in_one_folder(owners)}


def _in_circles(owners: Sequence[tuple[str, Pipeline | Inbox]]) -> dict[int, ConfigError]:
    """Pipelines that read each other's table, so that none can be first."""
    specs = {owner.spec.name: owner.spec for _, owner in owners if isinstance(owner, Pipeline)}
    sources = {name: spec.source.pipeline for name, spec in specs.items()}
    faults = dict[int, ConfigError]()
    for i, (place, owner) in enumerate(owners):
        chain: list[str] = [owner.spec.name]
        reached = sources.get(owner.spec.name)
        while reached and reached not in chain:
            chain.append(reached)
            reached = sources.get(reached)
        if reached == owner.spec.name and len(chain) > 1:
            told = " reads ".join([*chain, owner.spec.name])
            faults[i] = ConfigError(f"{place}: source.pipeline: {told}; let one of them read another source")
    return faults


def _without_source(owners: Sequence[tuple[str, Pipeline | Inbox]], broken: Iterable[str]) -> dict[int, ConfigError]:
    names = sorted({*broken, *(owner.spec.name for _, owner in owners if isinstance(owner, Pipeline))})
    faults = dict[int, ConfigError]()
    for i, (place, owner) in enumerate(owners):
        source = owner.spec.source.pipeline if isinstance(owner, Pipeline) else None
        if source and (source not in names or source == owner.spec.name):
            faults[i] = ConfigError(
                f"{place}: {owner.spec.name}: source.pipeline {source!r} is not another pipeline in this code "
                f"location; known: {', '.join(names)}"
            )
    return faults


def _in_one_folder(owners: Sequence[tuple[str, Pipeline | Inbox]]) -> dict[int, ConfigError]:
    """Inboxes that share a folder with each other, or with a pipeline: which of them a file is for is not known."""
    faults = dict[int, ConfigError]()
    pipelines = [owner.spec.name for _, owner in owners if isinstance(owner, Pipeline)]
    inboxes = [(i, place, owner.spec) for i, (place, owner) in enumerate(owners) if isinstance(owner, Inbox)]
    for i, place, spec in inboxes:
        others = [[other] for j, _, other in inboxes if j != i and other.name != spec.name] or [[]]
        for other in others:
            try:
                require_separate_folders([spec, *other], pipelines)
            except ConfigError as error:
                faults[i] = ConfigError(f"{place}: {error}")
    return faults


def _interval_s() -> int:
    value = os.environ.get(SENSOR_INTERVAL) or str(INTERVAL_S)
    if not value.isdecimal() or int(value) < 1:
        raise ConfigError(f"{SENSOR_INTERVAL} is {value!r}; set it to whole seconds, at least 1")
    return int(value)
