"""When the dispatcher looks at Bedrock: at its interval, or earlier because of an event."""

import time
from dataclasses import dataclass

from bedrock_assets.aws.job_events import Event, EventQueue
from bedrock_assets.errors import EventsUnavailable
from bedrock_assets.resources.job_events import EventsResource


@dataclass(frozen=True)
class WakeUp:
    """Whether it is time to look, and why."""

    queue: EventQueue | None
    events: tuple[Event, ...]
    left_s: float
    """Seconds until the interval is over; 0 or less if it is."""
    trouble: str = ""
    """Why the queue could not be read; empty if it was."""

    @classmethod
    def of(cls, resource: EventsResource, cursor: str | None, interval_s: float) -> "WakeUp":
        """
        Args:
            cursor: The sensor's, as `cursor` gives it: when it looked last.
        """
        queue = resource.open()
        if queue is None:
            return cls(None, (), 0)
        left_s = _seconds(cursor) + interval_s - time.time()
        try:
            return cls(queue, tuple(queue.read()), min(left_s, interval_s))
        except EventsUnavailable as error:
            return cls(queue, (), min(left_s, interval_s), str(error))

    def due(self) -> bool:
        """Whether to look at Bedrock now; if not, events that are no reason to are forgotten."""
        if self.left_s <= 0 or any(event.is_news for event in self.events):
            return True
        self.acknowledge("")
        return False

    @property
    def told(self) -> str:
        """Why nothing is done now."""
        return f"no job has ended; the next look at Bedrock is in {self.left_s:.0f} s{_and(self.trouble)}"

    @property
    def cursor(self) -> str:
        """What to remember of this look."""
        return f"{time.time():.3f}"

    def acknowledge(self, note: str) -> str:
        """Forget the events, which have had their effect: *note*, and why they could not be forgotten, if so."""
        jobs = [event.job for event in self.events if event.is_news]
        told = f"{note}{_and(f'woken by {len(jobs)} events' if jobs else '')}{_and(self.trouble)}"
        if self.queue is None or not self.events:
            return told
        try:
            self.queue.forget(self.events)
        except EventsUnavailable as error:
            return f"{told}; {error}"
        return told


def _and(text: str) -> str:
    return f"; {text}" if text else ""


def _seconds(cursor: str | None) -> float:
    try:
        return float(cursor or 0)
    except ValueError:
        return 0.0
