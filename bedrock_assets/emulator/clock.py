"""
The emulator's clock: real time with shortened durations, or time that a test steps.

In real time **every timestamp is a wall-clock time**, so that clients can filter with `submitTimeAfter=now()`. Only
*durations* are emulated: at speed 60 a phase of 60 s lasts one real second, and a timeout of 24 h is over 24 real
minutes after the submission, as `jobExpirationTime` says.

On a stepped clock nothing happens until `advance`. Every phase that ended by then ended at its own time, however
large the step, so a test sees the same times on every run.
"""

import threading
import time

SUBMITTED_S = 30.0
"""Emulated seconds in `Submitted`."""

VALIDATING_S = 60.0
"""Fewest emulated seconds in `Validating`; reading the input may take longer."""

SCHEDULED_S = 60.0
"""Emulated seconds in `Scheduled`."""

STOPPING_S = 10.0
"""Emulated seconds in `Stopping`."""

IN_PROGRESS_S = 120.0
PER_RECORD_S = 0.01
"""`InProgress` takes IN_PROGRESS_S + PER_RECORD_S x records emulated seconds: about 10 min for 50,000 records.

With the earlier phases a job takes at least 4.5 min, near the 5 min reported for the real service.
"""


def in_progress_s(n_records: int) -> float:
    """Emulated seconds that a job of *n_records* spends in `InProgress`."""
    return IN_PROGRESS_S + PER_RECORD_S * n_records


class Clock:
    """Tells the time, and how emulated durations pass."""

    def __init__(self, speed: float = 1.0, *, stepped: bool = False) -> None:
        """
        Args:
            speed: Emulated seconds per real second; a stepped clock has none.
            stepped: Whether time moves only by `advance`, from the time of its creation.
        """
        self.speed = 1.0 if stepped else speed
        self.stepped = stepped
        self.steps = 0
        """Number of calls of `advance`."""
        self._now = time.time()
        self._lock = threading.Lock()

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._now if self.stepped else time.time()

    def real_s(self, emulated_s: float) -> float:
        """Seconds of this clock that *emulated_s* take."""
        return emulated_s / self.speed

    def fraction(self, since: float, emulated_s: float) -> float:
        """Share of a span of *emulated_s* since *since* that is over, from 0 to 1."""
        return min(1.0, max(0.0, (self.now() - since) * self.speed / emulated_s)) if emulated_s > 0 else 1.0

    def end_of(self, since: float, emulated_s: float) -> float:
        """When a span that is over ended. In real time this is now, when its end is noticed."""
        return since + emulated_s if self.stepped else self.now()

    def advance(self, seconds: float) -> None:
        """
        Let time pass on a stepped clock.

        Raises:
            ValueError: The clock runs in real time, or *seconds* is negative or not finite.
        """
        if not self.stepped:
            raise ValueError(f"the clock runs in real time and cannot advance by {seconds} s; start it stepped")
        if not 0 <= seconds < float("inf"):
            raise ValueError(f"the clock advances by 0 s or more, not by {seconds}")
        with self._lock:
            self._now += seconds
            self.steps += 1
