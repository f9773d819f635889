"""Events in words, for people who read a log: who, what, in which round, and why if that is for them to know.

Pure: the sentence follows from what the reader is shown of the event, and so tells no more than that.
"""

from collections.abc import Callable, Mapping
from typing import Final

from hansa.protocol.events import Event, EventKind
from hansa.protocol.tasks import TaskKind
from hansa.rounds.states import RoundState

_WORK: Final[Mapping[str, str]] = {
    TaskKind.TRAIN.value: "trains",
    TaskKind.SWAG.value: "gathers moments",
    TaskKind.EVALUATE.value: "evaluates the version",
    TaskKind.CALIBRATE.value: "calibrates the version",
}
_RESULTS: Final[Mapping[str, str]] = {
    TaskKind.TRAIN.value: "update",
    TaskKind.SWAG.value: "moments",
    TaskKind.EVALUATE.value: "evaluation",
    TaskKind.CALIBRATE.value: "calibration",
}
_PHASES: Final[Mapping[str, str]] = {
    RoundState.SWAG.value: "asks for moments around its version",
    RoundState.EVALUATING.value: "has its version evaluated",
    RoundState.CALIBRATING.value: "has its version calibrated",
}
_SAY_THEIR_REASON: Final = frozenset({EventKind.ROUND_OPENED.value, EventKind.ROUND_PHASE.value})
UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


def told(event: Event) -> str:
    """One line. Of a kind that is not known here: its name.

    >>> told(Event(id=1, at="", kind="task.refused", text="", round=3, username="anna", reason="it holds NaN in 'fc'"))
    "anna's result was refused in round 3: it holds NaN in 'fc'"
    """
    sentence = _SENTENCES.get(event.kind)
    said = event.kind if sentence is None else sentence(event)
    times = event.data.get("times", 1)
    said = f"{said} ({times} times)" if times > 1 else said
    return f"{said}: {event.reason}" if event.reason and event.kind not in _SAY_THEIR_REASON else said


def _of(event: Event) -> str:
    """Which attempt at which round."""
    attempt = f", attempt {event.attempt}" if (event.attempt or 1) > 1 else ""
    return f"round {event.round}{attempt}"


def _who(event: Event) -> str:
    return event.username or "a client"


def _version(event: Event) -> str:
    number = event.data.get("version")
    return "a version" if number is None else f"version {number}"


def _result(event: Event) -> str:
    return f"{_who(event)}'s {_RESULTS.get(event.data.get('task', ''), 'result')}"


def _counted(event: Event, name: str, noun: str) -> str:
    """As ", 5 clients"; nothing where the reader is not told."""
    number = event.data.get(name)
    return "" if number is None else f", {number:,} {noun}{'' if number == 1 else 's'}"


def _opened(event: Event) -> str:
    version = event.data.get("version")
    begins = "" if version is None else f" begins from version {version}"
    return f"{_of(event)}{begins or ' begins'}{_counted(event, 'clients', 'client')}"


def _closed(event: Event) -> str:
    moments = event.data.get("phase") == RoundState.SWAG.value
    what = "has its moments together" if moments else "closed"
    counted = _counted(event, "reports", "report") + (
        _counted(event, "late", "late update") if event.data.get("late") else ""
    )
    return f"{_of(event)} {what}{counted}"


def _phase(event: Event) -> str:
    phase = event.data.get("phase", "")
    return f"{_of(event)} {_PHASES.get(phase, f'is {phase}')}{_counted(event, 'clients', 'client')}"


def _accepted(event: Event) -> str:
    parts = [_counted(event, "examples", "example")]
    if (size := event.data.get("bytes")) is not None:
        parts.append(f", {_bytes(size)}")
    if (norm := event.data.get("norm")) is not None:
        parts.append(f", norm {norm:.4g}")
    return f"{_result(event)} in {_of(event)} was accepted{''.join(parts)}"


def _bytes(size: float) -> str:
    """In the unit that suits it.

    >>> [_bytes(size) for size in (1, 1023, 1_050_000, 10**13)]
    ['1 B', '1023 B', '1.0 MiB', '9.1 TiB']
    """
    unit = 0
    while size >= 1024 and unit < len(UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.0f} {UNITS[unit]}" if unit == 0 else f"{size:.1f} {UNITS[unit]}"


_SENTENCES: Final[Mapping[str, Callable[[Event], str]]] = {
    EventKind.TRAINING_CREATED: lambda _: "the training was created",
    EventKind.TRAINING_STARTED: lambda _: "the training was started",
    EventKind.TRAINING_PAUSED: lambda _: "the training was paused",
    EventKind.TRAINING_RESUMED: lambda _: "the training was resumed",
    EventKind.TRAINING_GOES_ON: lambda _: "the training goes on, since enough clients are there",
    EventKind.TRAINING_COMPLETED: lambda _: "the training is completed",
    EventKind.TRAINING_FAILED: lambda _: "the training stopped with an error",
    EventKind.TRAINING_CANCELLED: lambda _: "the training was cancelled",
    EventKind.PARTICIPANT_ADDED: lambda it: f"{_who(it)} takes part",
    EventKind.PARTICIPANT_REMOVED: lambda it: f"{_who(it)} was removed",
    EventKind.PARTICIPANT_LEFT: lambda it: f"{_who(it)} left",
    EventKind.PARTICIPANT_EXCLUDED: lambda it: f"{_who(it)} is asked no more",
    EventKind.ROUND_OPENED: _opened,
    EventKind.ROUND_CLOSED: _closed,
    EventKind.ROUND_REOPENED: lambda it: f"{_of(it)} collects again",
    EventKind.ROUND_AGGREGATED: lambda it: f"{_of(it)} made {_version(it)}",
    EventKind.ROUND_PHASE: _phase,
    EventKind.ROUND_MOMENTS: lambda it: f"{_version(it)} has its moments",
    EventKind.ROUND_NO_MOMENTS: lambda it: f"the version of {_of(it)} gets no moments",
    EventKind.ROUND_DONE: lambda it: f"{_of(it)} is done",
    EventKind.ROUND_ABANDONED: lambda it: f"{_of(it)} was abandoned",
    EventKind.TASK_LEASED: lambda it: f"{_who(it)} {_WORK.get(it.data.get('task', ''), 'is at work')} in {_of(it)}",
    EventKind.TASK_REPORTED: _accepted,
    EventKind.TASK_LATE: lambda it: f"{_accepted(it)}, late: it counts in a later round",
    EventKind.TASK_REFUSED: lambda it: f"{_result(it)} was refused in {_of(it)}",
    EventKind.TASK_FAILED: lambda it: f"{_who(it)} failed in {_of(it)}",
    EventKind.TASK_LOST: lambda it: f"{_who(it)} was lost in {_of(it)}",
    EventKind.TASK_CLOSED: lambda it: f"{_of(it)} went on without {_who(it)}",
    EventKind.TASK_ASKED_AGAIN: lambda it: f"{_who(it)} is asked again in {_of(it)}",
    EventKind.TASK_DROPPED: lambda it: f"{_result(it)} of {_of(it)} does not count",
}
