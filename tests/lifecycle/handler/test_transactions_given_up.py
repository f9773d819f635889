"""Transactions around an awaited view end also when the request is cancelled while they begin, or while they end."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from hansa.server.lifecycle import atomic

PATIENCE = 30


class Slow:
    """Stands for the database's transactions: each begins and ends when it is told to."""

    def __init__(self) -> None:
        self.gates = {"begin": threading.Event(), "end": threading.Event()}
        self.at = {"begin": threading.Event(), "end": threading.Event()}
        self.log: list[str] = []

    def _pass(self, step: str) -> None:
        self.at[step].set()
        assert self.gates[step].wait(PATIENCE)

    @contextmanager
    def atomic(self, using: str) -> Iterator[None]:
        self._pass("begin")
        self.log.append("begun")
        try:
            yield
        except BaseException:
            self._pass("end")
            self.log.append("rolled back")
            raise
        self._pass("end")
        self.log.append("committed")


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    slow = Slow()
    monkeypatch.setattr(atomic.transaction, "atomic", slow.atomic)
    return slow


async def cancelled_at(step: str, slow: Slow) -> Any:
    async def serve() -> str:
        async with atomic.transactions(["default"]):
            return "answered"

    if step == "end":
        slow.gates["begin"].set()
    serving = asyncio.create_task(serve())
    assert await asyncio.to_thread(slow.at[step].wait, PATIENCE)
    serving.cancel()
    for gate in slow.gates.values():
        gate.set()
    (ended,) = await asyncio.gather(serving, return_exceptions=True)
    return ended


@pytest.mark.parametrize(("step", "end"), [("begin", "rolled back"), ("end", "committed")])
async def test_a_request_cancelled_meanwhile_ends_cancelled_and_leaves_no_transaction(
    slow: Slow, step: str, end: str
) -> None:
    assert isinstance(await cancelled_at(step, slow), asyncio.CancelledError)
    assert slow.log == ["begun", end]
