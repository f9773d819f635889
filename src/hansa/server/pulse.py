"""Signs of life of what the server does by itself: each activity beats at every turn of its loop, whoever asks listens.

In memory, and of this process: a server whose loop hangs is alive by its port and does nothing.
"""

from time import monotonic
from typing import Final

ORCHESTRATOR: Final = "orchestrator"

_beats: dict[str, float] = {}


def beat(activity: str) -> None:
    """The activity has begun another turn."""
    _beats[activity] = monotonic()


def silence(activity: str) -> float | None:
    """Seconds since its last beat; None if it has not begun."""
    last = _beats.get(activity)
    return None if last is None else monotonic() - last


def stop(activity: str) -> None:
    """The activity has ended."""
    _beats.pop(activity, None)
