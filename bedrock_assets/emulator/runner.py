"""The thread that moves jobs from status to status."""

import threading

from bedrock_assets.emulator.backend import Backend
from bedrock_assets.emulator.database import Where
from bedrock_assets.emulator.events import JobEvents
from bedrock_assets.emulator.lifecycle import Lifecycle
from bedrock_assets.emulator.models import IN_FLIGHT
from bedrock_assets.emulator.replies import RULES, Models
from bedrock_assets.emulator.storage import Buckets

IDLE_S = 0.5
MAX_POLL_S, MIN_POLL_S = 0.25, 0.005
"""Real seconds between two looks at the jobs: about one emulated second, within these bounds."""


class Runner:
    """Moves the jobs of a backend; start one for each database."""

    def __init__(self, backend: Backend, buckets: Buckets, events: JobEvents, models: Models = RULES) -> None:
        self._backend = backend
        self._events = events
        self._lifecycle = Lifecycle(backend, buckets, models)
        self._stopping = threading.Event()
        self._settled = threading.Condition()
        self._settled_steps = -1
        self._thread = threading.Thread(target=self._run, name="bedrock-emulator-runner", daemon=True)

    def start(self) -> None:
        """Begin, or continue where an earlier process stopped."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; jobs in flight stay as they are for the next process."""
        self._stopping.set()
        self._backend.changed.set()
        self._thread.join()

    def settle(self, timeout_s: float) -> None:
        """
        Wait until everything that is due at the clock's present step is done.

        Raises:
            TimeoutError: It took more than *timeout_s* real seconds.
        """
        steps = self._backend.clock.steps
        self._backend.changed.set()
        with self._settled:
            if not self._settled.wait_for(lambda: self._settled_steps >= steps, timeout_s):
                raise TimeoutError(f"the jobs did not catch up with the clock within {timeout_s} s")

    def _run(self) -> None:
        clock = self._backend.clock
        poll_s = min(MAX_POLL_S, max(MIN_POLL_S, clock.real_s(1.0)))
        while True:
            self._backend.changed.clear()
            if self._stopping.is_set():
                return
            steps = clock.steps
            jobs = self._backend.table.find(Where().status_in(IN_FLIGHT))
            busy = [self._lifecycle.advance(job) for job in jobs if not self._stopping.is_set()]
            wrote_manifest = self._lifecycle.write_late_manifests()
            self._events.deliver()
            if not any(busy):
                with self._settled:
                    self._settled_steps = steps
                    self._settled.notify_all()
                self._backend.changed.wait(poll_s if jobs or wrote_manifest else IDLE_S)
