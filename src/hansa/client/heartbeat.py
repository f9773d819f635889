"""Signs of life for the task at hand, from a thread of their own, however long the training takes."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from time import monotonic

from hansa.client.backoff import Backoff
from hansa.client.errors import ApiError, HansaError
from hansa.client.remedy import Remedy, for_task
from hansa.client.transport import Transport
from hansa.protocol.tasks import Heartbeat, HeartbeatAnswer, Task

BEATS_PER_LEASE = 3
SHORTEST_LEASE = 1.0
"""Seconds. Whatever a server says, it is not flooded with beats."""
LONGEST_LEASE = 3600.0
"""Seconds. Whatever a server says, it hears of its client now and then, and the client of it."""


class Held:
    """A task that the client holds, as its heartbeats know it."""

    def __init__(self, task: Task) -> None:
        self.task = task.id
        self.interval = _interval(task.lease_seconds)
        self.due = monotonic() + self.interval
        self.progress: float | None = None
        self.reason = ""
        """Why the task is no longer wanted, once it is cancelled."""
        self._cancelled = threading.Event()

    def cancelled(self) -> bool:
        """Whether the server wants no more of it."""
        return self._cancelled.is_set()

    def cancel(self, reason: str) -> None:
        """The result will be thrown away."""
        self.reason = reason
        self._cancelled.set()

    def tell_progress(self, share: float) -> None:
        """For the next heartbeat; clipped to 0 … 1."""
        self.progress = min(1.0, max(0.0, share))


class Heart:
    """Beats while a task is held: every third of the lease, sooner again after a beat that did not arrive.

    It has a transport of its own, made when it first beats: most tasks are shorter than that. The thread is a daemon,
    so that nothing waits for a beat on its way when the process ends.
    """

    def __init__(self, connect: Callable[[], Transport], rng: Random) -> None:
        self._connect = connect
        self._backoff = Backoff(rng)
        self._transport: Transport | None = None
        self._held: Held | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @contextmanager
    def holding(self, task: Task) -> Iterator[Held]:
        """Beat for this task inside the `with`."""
        held = Held(task)
        self._hold(held)
        try:
            yield held
        finally:
            self._hold(None)

    def _hold(self, held: Held | None) -> None:
        if held is not None and self._thread is None:
            self._thread = threading.Thread(target=self._beat_until_closed, name="hansa heartbeat", daemon=True)
            self._thread.start()
        with self._changed:
            self._held = held
            self._changed.notify()

    def close(self) -> None:
        """End the thread; a beat on its way is broken off."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            if self._transport is not None:
                self._transport.interrupt()

    def _beat_until_closed(self) -> None:
        while (held := self._next()) is not None:
            held.due = monotonic() + self._beat(held)
        if self._transport is not None:
            self._transport.close()

    def _next(self) -> Held | None:
        """Wait until a beat is due; None once closed."""
        with self._changed:
            while not self._closed:
                held = self._held
                if held is None or held.cancelled():
                    self._changed.wait()
                elif (left := held.due - monotonic()) > 0:
                    self._changed.wait(left)
                else:
                    self._transport = self._transport or self._connect()
                    return held
            return None

    def _beat(self, held: Held) -> float:
        """Beat once, and return in how many seconds to beat again."""
        assert self._transport is not None  # noqa: S101 - for the type checker: `_next` has set it
        try:
            answer = self._transport.call(
                "POST",
                f"/api/tasks/{held.task}/heartbeat/",
                body=Heartbeat(progress=held.progress),
                into=HeartbeatAnswer,
                timeout=max(held.interval, 1.0),
            )
        except HansaError as error:
            if isinstance(error, ApiError) and for_task(error) is Remedy.DROP:
                held.cancel(error.detail)
            # Anything else is for the main loop to deal with when it meets it.
            return min(held.interval, self._backoff.next())
        self._backoff.reset()
        held.interval = _interval(answer.lease_seconds)
        if not answer.proceed:
            held.cancel(answer.reason or "the server wants no more of it")
        return held.interval


def _interval(lease_seconds: float) -> float:
    # In this order NaN, which no comparison holds for, gives the shortest.
    return min(max(SHORTEST_LEASE, lease_seconds), LONGEST_LEASE) / BEATS_PER_LEASE
