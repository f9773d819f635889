"""SIGINT and SIGTERM as a call, for as long as a client runs."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

CAUGHT = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def caught(act: Callable[[], None]) -> Iterator[None]:
    """Call `act` at the first signal; a second one does what it did before, which usually ends the process hard.

    Signals that are ignored stay ignored. Off the main thread nothing is caught: Python delivers signals to the main
    thread only, and a program that runs clients in threads calls their `stop`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {
        number: handler
        for number in CAUGHT
        # None: set by something other than Python, which could not be put back
        if (handler := signal.getsignal(number)) is not None and handler is not signal.SIG_IGN
    }

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def handle(number: int, frame: FrameType | None) -> None:
        del number, frame
        restore()
        act()

    for number in previous:
        signal.signal(number, handle)
    try:
        yield
    finally:
        restore()
