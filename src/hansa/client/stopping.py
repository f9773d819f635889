"""Asking a running client to stop, from wherever: another thread, a reporter, a signal handler."""

from queue import Empty, SimpleQueue


class Stopping(BaseException):
    """The client was asked to stop. Not an Exception, so that a trainer's `except Exception` lets it through."""


class StopFlag:
    """Set once, for good; one thread at a time may wait for it.

    `threading.Event` would not do: a signal handler that sets it hangs for ever if the signal came while the same
    thread was inside the Event's lock. `SimpleQueue.put` is made to be called there.
    """

    def __init__(self) -> None:
        self._set = False
        self._wake: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """Ask to stop."""
        self._set = True
        self._wake.put(None)

    def is_set(self) -> bool:
        """Whether it was asked."""
        return self._set

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until set. Returns whether it is set."""
        if not self._set:
            try:
                self._wake.get(timeout=seconds)
            except Empty:
                return False
        return True
