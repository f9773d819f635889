"""Calls that make something, sent again where their answer was lost, and making one thing all the same."""

import time
from collections.abc import Callable, Mapping
from random import Random
from typing import TypeVar
from uuid import uuid4

from hansa.client.backoff import Backoff
from hansa.client.errors import ApiError, HansaError, Unreachable
from hansa.protocol.base import IDEMPOTENCY_HEADER
from hansa.protocol.errors import ErrorCode

T = TypeVar("T")

TRIES = 5
SHORTEST, LONGEST = 0.5, 5.0
"""Seconds between two of them."""
_BY_PROXIES = frozenset({502, 503, 504})


def made_once(send: Callable[[Mapping[str, str]], T]) -> T:
    """What `send` returns, which is to send these headers too: one key, by which the server knows a repetition.

    Not before it may have arrived: who cannot reach the server hears of it at once. Nor after a refusal. Raises what
    `send` raised last.
    """
    key = {IDEMPOTENCY_HEADER: str(uuid4())}
    backoff = Backoff(Random(), base=SHORTEST, cap=LONGEST)  # noqa: S311  # spreads retries in time
    arrived = False
    for _ in range(TRIES - 1):
        try:
            return send(key)
        except HansaError as error:
            arrived = arrived or _may_have_arrived(error)
            if not arrived or not _is_passing(error):
                raise
        time.sleep(backoff.next(at_least=SHORTEST))
    return send(key)


def _may_have_arrived(error: HansaError) -> bool:
    return not isinstance(error, Unreachable) or error.sent


def _is_passing(error: HansaError) -> bool:
    match error:
        case Unreachable():
            return True
        case ApiError(status=status, code=code):
            return status in _BY_PROXIES or code == ErrorCode.IN_PROGRESS
        case _:
            return False
