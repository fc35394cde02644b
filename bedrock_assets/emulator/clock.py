"""
The emulator's clocks: real time with the service's own durations divided by a speed, or time that a test steps.

With `Clock` **every timestamp is a real wall-clock time**, so that clients can filter with `submitTimeAfter=now()`.
Only *durations* are emulated: at speed 60 a phase documented as 60 s lasts one real second, and a job's timeout of
24 h lies 24 real minutes after its submission (`jobExpirationTime` says so truthfully).

With `SteppedClock` nothing happens until `advance`: then every phase that ended meanwhile ended at its own time,
however large the step, so a test sees the same times on every run.
"""

import threading
import time

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


class Clock:
    """Real time, and emulated durations made real."""

    stepped = False

    def __init__(self, speed: float = 1.0) -> None:
        """
        Args:
            speed: Emulated seconds per real second.
        """
        if not speed > 0:
            raise ValueError(f"the speed of the clock must be above 0, not {speed}")
        self.speed = speed

    @property
    def steps(self) -> int:
        """How often the clock was advanced by hand."""
        return 0

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def real_s(self, emulated_s: float) -> float:
        """Seconds of this clock that *emulated_s* last."""
        return emulated_s / self.speed

    def fraction(self, since: float, emulated_s: float) -> float:
        """How much of a span of *emulated_s* that began at *since* is over, from 0 to 1."""
        return min(1.0, max(0.0, (self.now() - since) * self.speed / emulated_s)) if emulated_s > 0 else 1.0

    def advance(self, seconds: float) -> None:
        """
        Let time pass, if this clock waits for that.

        Raises:
            ValueError: It runs by itself.
        """
        raise ValueError(f"this clock runs by itself and cannot be advanced by {seconds} s; start it stepped")

    def end_of(self, since: float, emulated_s: float) -> float:  # noqa: ARG002 - a stepped clock needs them
        """When a span of *emulated_s* from *since*, which is over, is taken to have ended: when it is noticed."""
        return self.now()


class SteppedClock(Clock):
    """Time that stands still between calls of `advance`; it begins at the real time unless told otherwise."""

    stepped = True

    def __init__(self, start: float | None = None) -> None:
        """
        Args:
            start: Seconds since the epoch.
        """
        super().__init__()
        self._now = time.time() if start is None else start
        self._steps = 0
        self._lock = threading.Lock()

    @property
    def steps(self) -> int:
        """How often the clock was advanced by hand."""
        return self._steps

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
            raise ValueError(f"a clock advances by 0 s or more, not by {seconds}")
        with self._lock:
            self._now += seconds
            self._steps += 1

    def end_of(self, since: float, emulated_s: float) -> float:
        """The span's own end."""
        return since + emulated_s
