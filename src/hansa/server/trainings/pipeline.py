"""Work on the pieces of a model, on threads, whose results come in the order of the pieces."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from threading import Event
from typing import TypeVar

THREADS = 2
IN_FLIGHT = 4
"""Pieces computed ahead of the one whose result is asked for."""

Piece = TypeVar("Piece")
Result = TypeVar("Result")


class StoppedError(Exception):
    """The server ends; the aggregation is taken up again by the next one."""


def in_order(
    pool: ThreadPoolExecutor,
    stopping: Event,
    work: Callable[[Piece], Result],
    pieces: Iterable[Piece],
    in_flight: int | None = None,
) -> Iterator[Result]:
    """`work` of each piece, in their order. Raises what it raises, and StoppedError once `stopping` is set.

    `in_flight`: how many are computed ahead, `IN_FLIGHT` unless said; with 0 one is computed at a time.
    Where there is one piece alone it is done here: a small model's round is over before two threads have begun.
    """
    ahead = iter(pieces)
    begun = list(islice(ahead, 2))
    if len(begun) == 1:
        if stopping.is_set():
            raise StoppedError
        yield work(begun[0])
        return
    pending, most = deque[Future[Result]](), IN_FLIGHT if in_flight is None else in_flight
    for piece in chain(begun, ahead):
        if stopping.is_set():
            pool.shutdown(cancel_futures=True)
            raise StoppedError
        pending.append(pool.submit(work, piece))
        if len(pending) > most:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
