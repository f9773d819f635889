"""The server's side of the nursery: it is started, asked for cells, and started anew if it has died."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
from contextlib import suppress
from typing import Final

import msgspec

from hansa.sandbox.confinement.limits import Limits
from hansa.sandbox.confinement.protections import Protections
from hansa.sandbox.framing import LENGTH, receive, send
from hansa.sandbox.handles import Cell
from hansa.sandbox.messages import cleaned

log = logging.getLogger(__name__)

NURSERY: Final = ("-P", "-m", "hansa.sandbox.nursery")
START_SECONDS: Final = 60
MAX_REPLY: Final = 4096
MAX_LINES: Final = 50
"""Of what one nursery says, and the server's log repeats."""


class BirthError(Exception):
    """There is no new cell, and that is no program's fault. Says why."""


class Nurse:
    """On one event loop."""

    def __init__(self, limits: Limits, having: Protections, threads: int) -> None:
        self._wish = msgspec.msgpack.encode({"limits": limits, "protections": having, "threads": threads})
        self._threads = threads
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._starting = asyncio.Lock()
        self._is_closed = False
        self._lines = 0

    @property
    def pid(self) -> int | None:
        """Of the nursery; None if there is none, or it has died."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    async def cell(self) -> Cell:
        """A new cell, of a new nursery if the last one is gone. Raises BirthError."""
        making = asyncio.create_task(self._made())
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(_end_of)  # the nursery's answer is on its way, and must be read
            raise

    async def close(self) -> None:
        """End the nursery, and with it all cells; there are no more."""
        self._is_closed = True
        async with self._starting:
            await self._bury()

    async def _made(self) -> Cell:
        async with self._starting:
            for _ in range(2):
                if self._is_closed:
                    raise BirthError("the server is ending")
                try:
                    if self._control is None or self.pid is None:
                        await self._bury()
                        self._control = self._start()
                    ours, theirs = socket.socketpair()
                except OSError as error:  # of this process, or this machine: a living nursery is left alone
                    raise BirthError(f"a process could not be prepared ({error.strerror})") from error
                try:
                    with theirs:
                        send(self._control, self._wish, [theirs.fileno()])
                    reply, descriptors = await asyncio.to_thread(receive, self._control, MAX_REPLY)
                except (OSError, EOFError, ValueError):
                    ours.close()
                    await self._bury()
                else:
                    return _cell(ours, reply, descriptors, self.pid or 0)
        raise BirthError("the process that makes all others has ended, twice; the server's log may say why")

    def _start(self) -> socket.socket:
        # in the loop's own thread: the nursery dies with the thread that started it
        ours, theirs = socket.socketpair()
        ours.settimeout(START_SECONDS)
        try:
            with theirs:
                self._process = process = subprocess.Popen(  # noqa: S603 - our own module
                    [sys.executable, *NURSERY, str(theirs.fileno()), str(os.getpid())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    cwd="/",
                    env={"PATH": os.defpath, "OMP_NUM_THREADS": str(self._threads)},  # none of the server's secrets
                )
        except OSError:
            ours.close()
            raise
        self._lines = 0
        if process.stderr is not None:
            asyncio.get_running_loop().add_reader(process.stderr.fileno(), self._repeat, process.stderr.fileno())
        return ours

    def _repeat(self, said: int) -> None:
        """What the nursery says is repeated in the server's log, so much and no more."""
        content = os.read(said, 2**16)
        if not content:
            asyncio.get_running_loop().remove_reader(said)
        for line in content.decode(errors="replace").splitlines():
            self._lines += 1
            if self._lines <= MAX_LINES:
                log.warning("The sandbox says: %s", cleaned(line))

    async def _bury(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
            if self._process.stderr is not None:
                with self._process.stderr as said:
                    os.set_blocking(said.fileno(), False)
                    with suppress(BlockingIOError):  # a cell may have it open for a moment yet
                        self._repeat(said.fileno())
                    asyncio.get_running_loop().remove_reader(said.fileno())
        self._control = self._process = None


def _cell(ours: socket.socket, reply: bytes, descriptors: list[int], nursery: int) -> Cell:
    """Of what the nursery has replied. Raises BirthError."""
    if len(descriptors) == 2:
        ours.setblocking(False)
        pidfd, fate = descriptors
        return Cell(int.from_bytes(reply, "little"), ours, pidfd, fate, nursery)
    ours.close()
    for each in descriptors:
        os.close(each)
    why = "too many files are open" if len(reply) == LENGTH else cleaned(reply.decode(errors="replace"))
    raise BirthError(f"no process was made ({why})")


def _end_of(making: "asyncio.Task[Cell]") -> None:
    if not making.cancelled() and making.exception() is None:
        making.result().end()
