"""
The emulator's clock: real time, with the service's own durations divided by a speed.

**Every timestamp is a real wall-clock time**, so that clients can filter with `submitTimeAfter=now()`. Only
*durations* are emulated: at speed 60 a phase documented as 60 s lasts one real second, and a job's timeout of
24 h lies 24 real minutes after its submission (`jobExpirationTime` says so truthfully).
"""

import time
from dataclasses import dataclass

SUBMITTED_S = 30.0
"""Emulated seconds before a submitted job is picked up."""

VALIDATING_S = 60.0
"""Least emulated seconds in `Validating`; reading the input may take longer."""

SCHEDULED_S = 60.0
"""Emulated seconds in `Scheduled`."""

STOPPING_S = 10.0
"""Emulated seconds in `Stopping`."""

IN_PROGRESS_S = 120.0
PER_RECORD_S = 0.01
"""`InProgress` lasts IN_PROGRESS_S + PER_RECORD_S x records emulated seconds: 50,000 records take about 10 min.

With the phases before it the floor is 4.5 min, near the 5 min that are reported for the real service.
"""


def in_progress_s(n_records: int) -> float:
    """Emulated seconds that a job of *n_records* spends in `InProgress`."""
    return IN_PROGRESS_S + PER_RECORD_S * n_records


@dataclass(frozen=True)
class Clock:
    """Real time, and emulated durations made real."""

    speed: float = 1.0
    """Emulated seconds per real second."""

    def __post_init__(self) -> None:
        if not self.speed > 0:
            raise ValueError(f"the speed of the clock must be above 0, not {self.speed}")

    def now(self) -> float:
        """Real seconds since the epoch."""
        return time.time()

    def real_s(self, emulated_s: float) -> float:
        """Real seconds that *emulated_s* last."""
        return emulated_s / self.speed

    def fraction(self, since: float, emulated_s: float) -> float:
        """How much of a span of *emulated_s* that began at the real time *since* is over, from 0 to 1."""
        return min(1.0, max(0.0, (self.now() - since) * self.speed / emulated_s)) if emulated_s > 0 else 1.0
