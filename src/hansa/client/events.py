"""What happens to a running client, as values: for reporters, for `stop_when`, and for tests."""

from collections.abc import Mapping
from dataclasses import dataclass

from hansa.protocol.tasks import Task


@dataclass(frozen=True, slots=True)
class Waiting:
    """The client asks the server for its next task."""

    server: str


@dataclass(frozen=True, slots=True)
class Leased:
    """A task is the client's own. `resumed`: its result was already on disk from before a restart."""

    task: Task
    resumed: bool


@dataclass(frozen=True, slots=True)
class Moving:
    """Bytes of a model or an update are on their way."""

    task: Task
    upload: bool
    done: int
    size: int


@dataclass(frozen=True, slots=True)
class Downloaded:
    """The model version is here, with the right digest."""

    task: Task
    seconds: float


@dataclass(frozen=True, slots=True)
class Trained:
    """The trainer has done what the task asks, training or evaluation, and the result stands on disk."""

    task: Task
    num_examples: int
    metrics: Mapping[str, float]
    seconds: float


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The server has the whole update."""

    task: Task
    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Reported:
    """The task is done: the server has the report durably. `verdict` and `late` are the receipt's."""

    task: Task
    verdict: str
    late: bool = False


@dataclass(frozen=True, slots=True)
class Dropped:
    """The task is not done: it is no longer wanted, or the client's own code could not do it (`failed`)."""

    task: Task
    reason: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """A call did not succeed and is made again in so many seconds."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Stopped:
    """The run has ended."""

    reason: str


Event = Waiting | Leased | Moving | Downloaded | Trained | Uploaded | Reported | Dropped | Reconnecting | Stopped
