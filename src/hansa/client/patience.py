"""Trying again, and stopping at once: every wait and every retry of a running client goes through here."""

from collections.abc import Callable
from random import Random
from typing import TypeVar

from hansa.client.backoff import Backoff
from hansa.client.errors import ApiError, HansaError
from hansa.client.events import Reconnecting
from hansa.client.heartbeat import Held
from hansa.client.remedy import Remedy, for_task
from hansa.client.stopping import StopFlag, Stopping

T = TypeVar("T")

FULL_DISK_SECONDS = 10.0
"""Added to each wait while the server's disk is full: room does not appear within a second."""

LONGEST_ASKED = 60.0
"""A Retry-After beyond this is not taken at its word: one question a minute harms no server."""


class Unwanted(Exception):  # noqa: N818 - it says what is the case
    """The task at hand is not wanted any more, for the reason given."""


class Patience:
    """Retries as `remedy` says, and gives up only when told: by `stopping`, or by the task's heartbeat."""

    def __init__(self, rng: Random, stopping: StopFlag, report: Callable[[Reconnecting], None]) -> None:
        self._rng = rng
        self._stopping = stopping
        self._report = report

    def backoff(self) -> Backoff:
        """A new sequence of waits."""
        return Backoff(self._rng)

    def is_over(self) -> bool:
        """Whether the client was asked to stop."""
        return self._stopping.is_set()

    def check(self, held: Held | None = None) -> None:
        """Raise Stopping or Unwanted if there is no reason to go on."""
        if self._stopping.is_set():
            raise Stopping
        if held is not None and held.cancelled():
            raise Unwanted(held.reason)

    def pause(self, seconds: float) -> None:
        """Wait, or raise Stopping as soon as the client is stopped."""
        if self._stopping.wait(seconds):
            raise Stopping

    def until_done(
        self,
        call: Callable[[], T],
        *,
        held: Held | None = None,
        remedy: Callable[[HansaError], Remedy] = for_task,
    ) -> T:
        """What `call` returns in the end. Errors that time cannot mend are raised as they came."""
        backoff = self.backoff()
        while True:
            self.check(held)
            try:
                return call()
            except HansaError as error:
                self.check(held)
                asked = error.retry_after if isinstance(error, ApiError) else None
                at_least = min(asked or 0.0, LONGEST_ASKED)
                match remedy(error):
                    case Remedy.AGAIN:
                        seconds = backoff.next(at_least=at_least)
                    case Remedy.SLOWLY:
                        seconds = backoff.next(at_least=max(at_least, FULL_DISK_SECONDS))
                    case _:
                        raise
                self._report(Reconnecting(str(error), seconds))
            self.pause(seconds)
