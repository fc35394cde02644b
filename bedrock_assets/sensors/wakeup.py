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
    warning: str = ""
    """Why the queue could not be read; empty if it was."""

    @classmethod
    def of(cls, resource: EventsResource, cursor: str | None, interval_s: float) -> "WakeUp":
        """
        Read the queue of events, if there is one.

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
        """Whether to look at Bedrock now; if not, the events that came are removed from the queue."""
        if self.left_s <= 0 or any(event.is_news for event in self.events):
            return True
        self.acknowledge("")
        return False

    @property
    def reason(self) -> str:
        """Why nothing is done now."""
        return f"no job has ended; the next look at Bedrock is in {self.left_s:.0f} s{_and(self.warning)}"

    @property
    def cursor(self) -> str:
        """The time of this look, in seconds since 1970."""
        return f"{time.time():.3f}"

    def acknowledge(self, note: str) -> str:
        """Remove the events from the queue; returns *note*, with why they could not be removed, if so."""
        n_news = sum(event.is_news for event in self.events)
        note = f"{note}{_and(f'woken by {n_news} events' if n_news else '')}{_and(self.warning)}"
        if self.queue is None or not self.events:
            return note
        try:
            self.queue.forget(self.events)
        except EventsUnavailable as error:
            return f"{note}; {error}"
        return note


def _and(text: str) -> str:
    return f"; {text}" if text else ""


def _seconds(cursor: str | None) -> float:
    try:
        return float(cursor or 0)
    except ValueError:
        return 0.0
