"""
The names of Dagster's private modules that this package uses, each for want of a public one; no other file imports any.

A test holds that they are there in the version that is installed, which `pyproject.toml` limits to one minor version.
"""

from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus, PartitionBackfill
from dagster._core.scheduler.instigation import InstigatorStatus, InstigatorType

__all__ = ["BulkActionStatus", "BulkActionsFilter", "InstigatorStatus", "InstigatorType", "PartitionBackfill"]
