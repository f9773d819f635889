"""Clients of a real server that work while a block runs, each on a thread of its own."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hansa.client import Client
from hansa.client.events import Event


@contextmanager
def working(url: str, token: str, state: Path, trainer: object, wait: float = 10.0) -> Iterator[None]:
    """A client with its state in this folder; stopped, and its thread at an end, when the block is."""
    client = Client(url, token, state=state, reporter=_unheard, wait=wait)
    thread = threading.Thread(target=client.run, args=(trainer,), name=state.name)
    thread.start()
    try:
        yield
    finally:
        client.stop()
        thread.join(30)


def _unheard(event: Event) -> None:
    del event
