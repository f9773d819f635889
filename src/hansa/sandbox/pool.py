"""The server's side: cells at hand, and each call given to one that has its programs loaded."""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import msgspec

from hansa.sandbox.confinement.limits import Limits
from hansa.sandbox.confinement.protections import Protections, protections
from hansa.sandbox.fates import fate
from hansa.sandbox.framing import LENGTH, MAX_FILES, framed, receive, send
from hansa.sandbox.messages import MAX_ANSWER, MAX_CALL, Call, Outcome, Refused, Tensor, Unsupported

log = logging.getLogger(__name__)

START_SECONDS: Final = 60


class FullError(Exception):
    """More calls wait than may."""


class UnprotectedError(Exception):
    """The machine lacks a protection, and weakness is not wanted."""


@dataclass(slots=True, eq=False)
class _Cell:
    sock: socket.socket
    pidfd: int
    fate: int
    """A pipe, on which the nursery tells how it ended."""
    holds: tuple[object, ...] | None = None
    busy: float = 0.0
    """Seconds of wall clock in calls."""
    used: float = field(default_factory=time.monotonic)

    def is_waiting(self) -> bool:
        """Whether it lives, and has said nothing unasked."""
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        return False

    def kill(self) -> None:
        """Whatever it does. One that is ending already keeps its status."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def end(self) -> None:
        """Kill it, and forget it."""
        try:
            self.kill()
        finally:
            os.close(self.pidfd)
            os.close(self.fate)
            self.sock.close()


class Pool:
    """An asynchronous context manager: the nursery starts with it, and everything ends with it. On one event loop."""

    def __init__(
        self,
        size: int | None = None,
        *,
        memory: int = 2 * 2**30,
        wall_seconds: float = 30.0,
        cpu_seconds: int | None = None,
        waiting: int = 256,
        weak: bool = False,
        having: Protections | None = None,
    ) -> None:
        """Raises UnprotectedError. `size` is the number of cells: as many as there are cores."""
        cores = len(os.sched_getaffinity(0))
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
        self._limits = Limits(memory=memory, cpu_seconds=self._cpu_seconds)
        self._waiting, self._most = 0, waiting
        self._turns = asyncio.Semaphore(self._size)
        self._idle: list[_Cell] = []
        self._nursery: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._starting = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._idle = [await self._new() for _ in range(self._size)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for cell in self._idle:
            cell.end()
        self._idle.clear()
        async with self._starting:
            await self._bury()

    async def run(self, call: Call, files: Mapping[str, int]) -> Outcome:
        """Let a cell compute. `files` are open read-only descriptors by digest, the caller's to close.

        Raises FullError at once if too many wait.
        """
        if len(call.digests) > MAX_FILES:
            return Unsupported(f"the call needs {len(call.digests)} files; at most {MAX_FILES} are opened")
        message = msgspec.msgpack.encode(call)
        if len(message) > MAX_CALL:
            return Unsupported(f"the inputs have {len(message)} bytes; at most {MAX_CALL} are computed with")
        if self._waiting >= self._most + self._size:
            raise FullError(f"{self._waiting} calls wait already")
        self._waiting += 1
        try:
            async with self._turns:
                return await self._in_a_cell(call, message, [files[digest] for digest in sorted(call.digests)])
        finally:
            self._waiting -= 1

    async def _in_a_cell(self, call: Call, message: bytes, files: list[int]) -> Outcome:
        cell = self._taken((call.programs, call.preprocessing)) or await self._new()
        began, whole = time.monotonic(), False
        try:
            async with asyncio.timeout(self._wall):
                content = await _asked(cell.sock, message, files)
            outcome = _checked(content)
            whole = True
        except TimeoutError:
            return Refused("wall_clock", f"the program had no answer after {self._wall:g} s")
        except (EOFError, ConnectionError):
            cell.kill()  # if it has but closed its end
            return await fate(cell.fate)
        except ValueError as error:
            return Refused("output", str(error))
        finally:
            cell.busy += time.monotonic() - began
            if whole and cell.busy * self._threads < self._cpu_seconds / 2:
                cell.holds, cell.used = (call.programs, call.preprocessing), time.monotonic()
                self._idle.append(cell)
            else:
                cell.end()
        return outcome

    def _taken(self, wanted: tuple[object, ...]) -> _Cell | None:
        """The idle cell that has the programs; else an empty one, or the one not used for longest."""
        if self._nursery is None or self._nursery.poll() is not None:
            while self._idle:  # they end with their nursery
                self._idle.pop().end()
        for dead in [each for each in self._idle if not each.is_waiting()]:
            self._idle.remove(dead)
            dead.end()
        if not self._idle:
            return None
        cell = min(self._idle, key=lambda each: (each.holds != wanted, each.holds is not None, each.used))
        self._idle.remove(cell)
        return cell

    async def _new(self) -> _Cell:
        making = asyncio.create_task(self._made())
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(_end_of)  # the nursery's answer is on its way, and must be read
            raise

    async def _made(self) -> _Cell:
        """A new cell, of a new nursery if the last one is gone."""
        async with self._starting:
            for attempt in range(2):
                if self._control is None or self._nursery is None or self._nursery.poll() is not None:
                    await self._bury()
                    self._control = self._start()
                try:
                    return await self._forked(self._control)
                except (OSError, EOFError):
                    await self._bury()
                    if attempt:
                        raise
        raise AssertionError("unreachable: the second attempt returns or raises")

    def _start(self) -> socket.socket:
        # in the loop's own thread: the nursery dies with the thread that started it
        ours, theirs = socket.socketpair()
        ours.settimeout(START_SECONDS)
        with theirs:
            arguments = [sys.executable, "-m", "hansa.sandbox.nursery", str(theirs.fileno()), str(os.getpid())]
            self._nursery = subprocess.Popen(  # noqa: S603 - our own module
                arguments,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={"PATH": os.defpath, "OMP_NUM_THREADS": str(self._threads)},  # none of the server's secrets
            )
        return ours

    async def _forked(self, control: socket.socket) -> _Cell:
        ours, theirs = socket.socketpair()
        wish = msgspec.msgpack.encode(
            {"limits": self._limits, "protections": self.protections, "threads": self._threads}
        )
        with theirs:
            send(control, wish, [theirs.fileno()])
        try:
            _, (pidfd, fate_of_it) = await asyncio.to_thread(receive, control, 16)
        except BaseException:
            ours.close()
            raise
        ours.setblocking(False)
        return _Cell(ours, pidfd, fate_of_it)

    async def _bury(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._nursery is not None:
            self._nursery.kill()
            await asyncio.to_thread(self._nursery.wait)
        self._control = self._nursery = None


def _end_of(making: "asyncio.Task[_Cell]") -> None:
    if not making.cancelled() and making.exception() is None:
        making.result().end()


async def _asked(sock: socket.socket, message: bytes, files: list[int]) -> bytes:
    loop = asyncio.get_running_loop()
    whole = framed(message)
    sent = socket.send_fds(sock, [whole[:LENGTH]], files)  # an idle cell has read everything: there is room
    await loop.sock_sendall(sock, whole[sent:])
    length = int.from_bytes(await _exactly(sock, LENGTH), "little")
    if length > MAX_ANSWER:
        raise ValueError(f"the answer has {length} bytes; the limit is {MAX_ANSWER}")
    return await _exactly(sock, length)


async def _exactly(sock: socket.socket, count: int) -> bytes:
    content = bytearray()
    while len(content) < count:
        part = await asyncio.get_running_loop().sock_recv(sock, min(count - len(content), 2**20))
        if not part:
            raise EOFError
        content += part
    return bytes(content)


def _checked(content: bytes) -> Outcome:
    """What a cell has said, if it is an outcome. Raises ValueError."""
    outcome: Outcome = msgspec.msgpack.decode(content, type=Outcome)
    if isinstance(outcome, Tensor):
        if outcome.dtype not in ("float32", "float64"):
            raise ValueError(f"the answer has dtype {outcome.dtype[:20]!r}")
        outcome.array()
    return outcome
