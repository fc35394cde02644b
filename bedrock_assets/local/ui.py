"""A client of the Dagster web server: it launches runs and backfills with the same calls as the UI."""

import json
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bedrock_assets.errors import BedrockAssetsError
from bedrock_assets.jobs.rounds import RANGE_TAGS

LOCATION = "bedrock_assets"
REPOSITORY = "__repository__"
ENDED = ("SUCCESS", "FAILURE", "CANCELED")

_LOCATIONS = """{ workspaceOrError { __typename ... on Workspace { locationEntries {
  name loadStatus locationOrLoadError { __typename ... on PythonError { message } } } } } }"""
_LAUNCH_RUN = """mutation($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  ... on RunConfigValidationInvalid { errors { message } } } }"""
_LAUNCH_BACKFILL = """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
  ... on PartitionKeysNotFoundError { message } } }"""
_MADE = """query($keys: [AssetKeyInput!], $partitions: [String!]) { assetNodes(assetKeys: $keys) { assetKey { path }
  isPartitioned latestMaterializationByPartition(partitions: $partitions) { timestamp runId }
  assetMaterializations(limit: 1) { timestamp runId } } }"""
_RUN = """query($id: ID!) { runOrError(runId: $id) { __typename ... on Run { status } } }"""
_BACKFILL = """query($id: String!) { partitionBackfillOrError(backfillId: $id) { __typename
  ... on PartitionBackfill { status assetBackfillData { assetBackfillStatuses { __typename
    ... on AssetPartitionsStatusCounts { assetKey { path } numPartitionsTargeted numPartitionsMaterialized
      numPartitionsFailed numPartitionsInProgress }
    ... on UnpartitionedAssetStatus { assetKey { path } materialized failed inProgress } } } } } }"""
_MESSAGES = """query($id: ID!) { logsForRun(runId: $id) { __typename ... on EventConnection { events {
  __typename ... on ExecutionStepFailureEvent { error { message causes { message } } } } } } }"""


TELL_S = 30
"""Seconds between two messages that say what is waited for."""


class UIError(BedrockAssetsError):
    """The Dagster web server refused a call."""


class LocationError(UIError):
    """A code location does not load."""


@dataclass(frozen=True)
class DagsterUI:
    """A Dagster web server."""

    url: str
    location: str = LOCATION
    """The code location whose assets are materialized."""

    def wait_until_loaded(self, alive: Callable[[], None], tell: Callable[[str], object] = lambda _text: None) -> None:
        """
        Wait until all code locations are loaded, however long a busy machine takes for it.

        Args:
            alive: Called before each attempt; it raises if Dagster has ended.
            tell: Told from time to time what is waited for.

        Raises:
            LocationError: A code location has an error.
        """
        began_at = told_at = time.monotonic()
        while True:
            alive()
            entries = self._locations()
            if entries and all(entry["loadStatus"] == "LOADED" for entry in entries):
                _require_loaded(entries)
                return
            if time.monotonic() - told_at > TELL_S:
                told_at = time.monotonic()
                awaited = "Dagster's web server" if entries is None else "the code location"
                tell(f"waiting for {awaited} for {told_at - began_at:.0f} s; its log is dagster.log")
            time.sleep(0.5)

    def _locations(self) -> Sequence[Mapping[str, Any]] | None:
        """The code locations as the web server has them; None if it does not answer."""
        try:
            return self.query(_LOCATIONS)["workspaceOrError"].get("locationEntries", [])
        except (OSError, UIError):
            return None

    def materialize(
        self,
        *assets: Sequence[str],
        partitions: Sequence[str] = (),
        run_config: Mapping[str, Any] | None = None,
    ) -> str:
        """
        Launch one run, as the button "Materialize" does; returns its id.

        Args:
            partitions: Of partitioned assets, in their order: all from the first to the last one, in this run.
            run_config: As in the launchpad.
        """
        selector = {
            "repositoryLocationName": self.location,
            "repositoryName": REPOSITORY,
            "pipelineName": "__ASSET_JOB",
            "assetSelection": [{"path": list(path)} for path in assets],
            "assetCheckSelection": None,
        }
        span = zip(RANGE_TAGS, (partitions[0], partitions[-1]), strict=True) if partitions else ()
        params = {
            "selector": selector,
            "runConfigData": json.dumps(run_config or {}),
            "mode": "default",
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in span]},
        }
        answer = self.query(_LAUNCH_RUN, params=params)["launchPipelineExecution"]
        return _expect(answer, "LaunchRunSuccess")["run"]["runId"]

    def run_status(self, run_id: str) -> str:
        """A run's status."""
        return self.query(_RUN, id=run_id)["runOrError"].get("status", "FAILURE")

    def runs_since(
        self, moment: float, assets: Sequence[Sequence[str]], partitions: Sequence[str] = ()
    ) -> dict[str, list[str]]:
        """
        The runs that last materialized these partitions, or an asset without partitions, if it was since a moment.

        They are by the last part of the asset's key, and one run is there for each partition.

        Args:
            moment: In seconds since 1970.
        """
        keys = [{"path": list(path)} for path in assets]
        nodes = self.query(_MADE, keys=keys, partitions=list(partitions))["assetNodes"]
        return {node["assetKey"]["path"][-1]: _runs_since(moment, node) for node in nodes}

    def wait_for_run(self, run_id: str, poll_s: float = 0.5) -> str:
        """Wait until a run ends; returns its status."""
        while True:
            if (status := self.run_status(run_id)) in ENDED:
                return status
            time.sleep(poll_s)

    def failures(self, run_id: str) -> list[str]:
        """Messages of a run's failed steps, causes last."""
        events = self.query(_MESSAGES, id=run_id)["logsForRun"].get("events", [])
        errors = [event["error"] for event in events if event.get("error")]
        return [text["message"].strip() for error in errors for text in (error, *error.get("causes", []))]

    def backfill(
        self, assets: Sequence[Sequence[str]], partitions: Sequence[str], run_config: Mapping[str, Any] | None = None
    ) -> str:
        """Launch a backfill as the partition dialog does; returns its id."""
        params = {
            "assetSelection": [{"path": list(path)} for path in assets],
            "partitionNames": list(partitions),
            "runConfigData": json.dumps(run_config or {}),
        }
        answer = self.query(_LAUNCH_BACKFILL, params=params)["launchPartitionBackfill"]
        return _expect(answer, "LaunchBackfillSuccess")["backfillId"]

    def backfill_status(self, backfill_id: str) -> tuple[str, dict[str, dict[str, int]]]:
        """A backfill's status, and partition counts by asset: targeted, materialized, failed, running."""
        backfill = _expect(self.query(_BACKFILL, id=backfill_id)["partitionBackfillOrError"], "PartitionBackfill")
        statuses = (backfill.get("assetBackfillData") or {}).get("assetBackfillStatuses", [])
        return backfill["status"], {status["assetKey"]["path"][-1]: _counts(status) for status in statuses}

    def query(self, query: str, **variables: object) -> dict[str, Any]:
        """
        Send one GraphQL query or mutation; returns its `data`.

        Raises:
            UIError: The server refused it.
        """
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(  # noqa: S310 - the web server we started, on loopback
            f"{self.url}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
            answer = json.load(response)
        if answer.get("errors"):
            raise UIError(f"Dagster refused a query: {answer['errors'][0]['message']}")
        return answer["data"]


def _runs_since(moment: float, node: Mapping[str, Any]) -> list[str]:
    events = node["latestMaterializationByPartition" if node["isPartitioned"] else "assetMaterializations"]
    return [event["runId"] for event in events if event and float(event["timestamp"]) / 1000 >= moment]


def _require_loaded(entries: Sequence[Mapping[str, Any]]) -> None:
    for entry in entries:
        result = entry["locationOrLoadError"]
        if result["__typename"] == "PythonError":
            raise LocationError(f"code location {entry['name']} does not load: {result['message']}")


def _expect(answer: dict[str, Any], kind: str) -> dict[str, Any]:
    if answer["__typename"] != kind:
        raise UIError(f"Dagster answered {answer['__typename']}: {answer.get('message', '')}")
    return answer


def _counts(status: Mapping[str, Any]) -> dict[str, int]:
    if status["__typename"] == "UnpartitionedAssetStatus":
        numbers = (1, status["materialized"], status["failed"], status["inProgress"])
    else:
        names = ("Targeted", "Materialized", "Failed", "InProgress")
        numbers = tuple(status[f"numPartitions{name}"] for name in names)
    return dict(zip(("targeted", "materialized", "failed", "running"), map(int, numbers), strict=True))
