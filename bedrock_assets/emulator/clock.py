"""
The emulator's clocks: real time with shortened durations, or time that a test steps.

With `Clock` **every timestamp is a real wall-clock time**, so that clients can filter with `submitTimeAfter=now()`.
Only *durations* are emulated: at speed 60 a phase of 60 s lasts one real second, and a timeout of 24 h is over 24 real
minutes after the submission, as `jobExpirationTime` says.

With `SteppedClock` nothing happens until `advance`. Every phase that ended by then ended at its own time, however
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
    """Real time, with emulated durations."""

    stepped = False
    steps = 0
    """Number of calls of `advance`."""

    def __init__(self, speed: float = 1.0) -> None:
        """
        Args:
            speed: Emulated seconds per real second.
        """
        if not speed > 0:
            raise ValueError(f"the speed of the clock must be above 0, not {speed}")
        self.speed = speed

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def real_s(self, emulated_s: float) -> float:
        """Seconds of this clock that *emulated_s* take."""
        return emulated_s / self.speed

    def fraction(self, since: float, emulated_s: float) -> float:
        """Share of a span of *emulated_s* since *since* that is over, from 0 to 1."""
        return min(1.0, max(0.0, (self.now() - since) * self.speed / emulated_s)) if emulated_s > 0 else 1.0

    def advance(self, seconds: float) -> None:
        """
        Let time pass.

        Raises:
            ValueError: Always; only a stepped clock can advance.
        """
        raise ValueError(f"the clock runs in real time and cannot advance by {seconds} s; start the emulator stepped")

    def end_of(self, since: float, emulated_s: float) -> float:  # noqa: ARG002 - a stepped clock needs them
        """When a span that is over counts as ended: now."""
        return self.now()


class SteppedClock(Clock):
    """Time that stands still between calls of `advance`."""

    stepped = True

    def __init__(self, start: float | None = None) -> None:
        """
        Args:
            start: Seconds since the epoch; now by default.
        """
        super().__init__()
        self._now = time.time() if start is None else start
        self._lock = threading.Lock()

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._now

    def advance(self, seconds: float) -> None:
        """
        Let time pass.

        Raises:
            ValueError: *seconds* is negative or not a number.
        """
        if not 0 <= seconds < float("inf"):
            raise ValueError(f"the clock advances by 0 s or more, not by {seconds}")
        with self._lock:
            self._now += seconds
            self.steps += 1

    def end_of(self, since: float, emulated_s: float) -> float:
        """The span's own end."""
        return since + emulated_s
