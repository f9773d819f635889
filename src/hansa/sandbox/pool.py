"""The server's side: cells at hand, each bound to one model for life, and callers who take turns."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import Final, Self

import msgspec

from hansa.sandbox.confinement.limits import Limits
from hansa.sandbox.confinement.protections import Protections, protections
from hansa.sandbox.conversation import LARGE, asked
from hansa.sandbox.fates import fate
from hansa.sandbox.framing import MAX_FILES
from hansa.sandbox.handles import Cell, Key, key_of, private_bytes
from hansa.sandbox.messages import MAX_CALL, Broken, Call, Outcome, Refused, Tensor, Unsupported
from hansa.sandbox.nurse import BirthError, Nurse
from hansa.sandbox.turns import Turns

log = logging.getLogger(__name__)

KEPT_SECONDS: Final = 300.0
"""After which a cell that nobody asks is ended."""
KEPT_CELLS: Final = 4
"""That are kept with a model loaded, for each core."""

Files = Callable[[], AbstractAsyncContextManager[Mapping[str, int]]]
"""Opens a call's files, by digest, when its turn has come: those who wait hold none."""


class UnprotectedError(Exception):
    """The machine lacks a protection, and weakness is not wanted."""


class Pool:
    """An asynchronous context manager: the nursery starts with it, and everything ends with it. On one event loop.

    Memory: `size` calls at once, for a while twice as many if they are of several users, may each use `memory`; all
    cells together that wait with a model loaded may keep as much as one.
    """

    def __init__(
        self,
        size: int | None = None,
        *,
        memory: int = 2 * 2**30,
        wall_seconds: float = 30.0,
        cpu_seconds: int | None = None,
        waiting: int = 256,
        patience: float | None = None,
        weak: bool = False,
        having: Protections | None = None,
    ) -> None:
        """Raises UnprotectedError. `size`: by default the number of cores; `patience`: seconds, as `wall_seconds`."""
        cores = _cores()
        self.protections = having if having is not None else protections()
        if self.protections.missing and not weak:
            raise UnprotectedError(
                f"Programs are not run: protections are {self.protections}. Use a newer kernel, or set "
                "HANSA_SANDBOX=weak where all who upload models are trusted."
            )
        if self.protections.missing:
            log.warning("HANSA_SANDBOX=weak: programs are run although protections are %s.", self.protections)
        self._size = size or cores
        self._threads = max(1, cores // self._size)
        self._wall = wall_seconds
        # of the whole life of a cell, which ends before this does, unless one call uses all of it
        self._cpu_seconds = cpu_seconds or int(20 * wall_seconds * self._threads) + 1
        self._memory = memory
        self._turns = Turns(self._size, waiting=waiting, patience=patience or wall_seconds)
        self._nurse = Nurse(Limits(memory=memory, cpu_seconds=self._cpu_seconds), self.protections, self._threads)
        self._spare: list[Cell] = []
        self._idle: list[Cell] = []
        self._refilling: asyncio.Task[None] | None = None
        self._sweeping: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def __aenter__(self) -> Self:
        """Raises BirthError."""
        for _ in range(self._size):
            self._spare.append(await self._nurse.cell())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        await self._nurse.close()
        if self._refilling is not None:
            await self._refilling
        for cell in (*self._idle, *self._spare):
            cell.end()
        self._idle.clear()
        self._spare.clear()

    async def run(self, call: Call, files: Files, *, who: str = "") -> Outcome:
        """Let a cell compute, when it is the turn of `who` asks.

        Raises FullError at once if too many wait, OverdueError if the turn does not come, and what `files` raises.
        """
        if len(call.digests) > MAX_FILES:
            return Unsupported(f"the call needs {len(call.digests)} files; at most {MAX_FILES} are opened")
        size = sum(len(each.data) if isinstance(each, Tensor) else len(each.content) for each in call.inputs)
        if size > MAX_CALL - LARGE:
            return Unsupported(f"the inputs have {size} bytes; at most {MAX_CALL - LARGE} are computed with")
        async with self._turns.taken(who):
            message = msgspec.msgpack.encode(call) if size < LARGE else await asyncio.to_thread(_encoded, call)
            try:
                for _ in range(2):
                    cell = self._taken(key_of(call)) or await self._nurse.cell()
                    outcome = await self._answered(cell, call, message, files)
                    if not isinstance(outcome, Broken) or cell.nursery == self._nurse.pid or self._is_closed:
                        break  # else the nursery died, and the cell with it: of another the caller need not know
            except BirthError as error:
                return Broken(str(error))
            return outcome

    async def _answered(self, cell: Cell, call: Call, message: bytes, files: Files) -> Outcome:
        began, again = time.monotonic(), False
        try:
            async with files() as opened:
                descriptors = [opened[digest] for digest in sorted(call.digests)]
                async with asyncio.timeout(self._wall):
                    answer = await asked(cell.sock, message, descriptors)
            again = answer.again
            return answer.outcome
        except TimeoutError:
            return Refused("wall_clock", f"the program had no answer after {self._wall:g} s")
        except (EOFError, ConnectionError):
            cell.kill()  # if it has but closed its end
            return await fate(cell.fate)
        except ValueError as error:
            return Broken(f"the program's process is out of step: {error}")
        except OSError as error:
            return Broken(f"the model's files could not be opened ({error.strerror})")
        finally:
            cell.busy += time.monotonic() - began
            self._put_back(cell, key_of(call), again=again)

    def _taken(self, key: Key) -> Cell | None:
        """The idle cell that has the programs; else a spare one, which is then replaced."""
        for cells in (self._idle, self._spare):
            for dead in [each for each in cells if each.nursery != self._nurse.pid or not each.is_waiting()]:
                cells.remove(dead)
                dead.end()
        if (cell := next((each for each in reversed(self._idle) if each.holds == key), None)) is not None:
            self._idle.remove(cell)
            return cell
        cell = self._spare.pop() if self._spare else None
        if self._refilling is None and not self._is_closed:
            self._refilling = asyncio.create_task(self._refill())
            self._refilling.add_done_callback(self._refilled)
        return cell

    async def _refill(self) -> None:
        with suppress(BirthError):  # whoever needs a cell next is told
            while len(self._spare) < self._size and not self._is_closed:
                self._spare.append(await self._nurse.cell())

    def _refilled(self, _: "asyncio.Task[None]") -> None:
        self._refilling = None

    def _put_back(self, cell: Cell, key: Key, *, again: bool) -> None:
        worn = cell.busy * self._threads >= self._cpu_seconds / 2
        if not again or worn or self._is_closed:
            cell.end()
            return
        cell.holds, cell.used, cell.size = key, time.monotonic(), private_bytes(cell.pid)
        self._idle.append(cell)
        self._bound()

    def _bound(self) -> None:
        """End those that were not used for longest, until the others keep to the bounds."""
        common = private_bytes(self._nurse.pid) if self._nurse.pid is not None else 0
        while self._idle and (
            len(self._idle) > KEPT_CELLS * self._size
            or sum(max(0, each.size - common) for each in self._idle) > self._memory
            or self._idle[0].used < time.monotonic() - KEPT_SECONDS
        ):
            self._idle.pop(0).end()
        if self._idle and self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(KEPT_SECONDS / 2, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = None
        self._bound()


def _encoded(call: Call) -> bytes:
    return msgspec.msgpack.encode(call)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
