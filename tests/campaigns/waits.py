"""How large a campaign is, and what it waits for."""

from tests.campaigns.site import Deployment
from tests.labs.short import SHORT

N_SHARDS = 4 if SHORT else 12


def wait_for_jobs(made: Deployment) -> None:
    """Wait until jobs are in flight and others still wait."""
    made.until(lambda: any(job.status.in_flight for job in made.jobs()))


def wait_for_table(made: Deployment) -> None:
    """Wait until the table is there."""
    made.until(lambda: made.materialized("joined_table") > 0)
