"""One process does something while another is just about to: in one thread, at an effect that is announced."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from bedrock_assets.audit import Effect, When


@dataclass
class _Meeting:
    event: str
    when: When
    subject: str
    act: Callable[[], object]
    has_met: bool = False


_planned: list[_Meeting] = []


def _observe(event: str, arguments: tuple[object, ...]) -> None:
    for meeting in _planned:
        met = event == meeting.event and arguments[0] == meeting.when and meeting.subject in str(arguments[1])
        if met and not meeting.has_met:
            meeting.has_met = True
            meeting.act()


sys.addaudithook(_observe)  # it cannot be taken away, and does nothing while nothing is planned


@contextmanager
def meanwhile(when: When, effect: Effect, subject: str, act: Callable[[], object]) -> Generator[None]:
    """*act* happens once within the block, before or after the first *effect* on what has *subject* in it."""
    meeting = _Meeting(f"bedrock_assets.{effect}", when, subject, act)
    _planned.append(meeting)
    try:
        yield
    finally:
        _planned.remove(meeting)
    assert meeting.has_met
