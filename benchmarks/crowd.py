"""Many raw connections in one process, each with a request that waits, and the moment at which each was answered."""

import asyncio
import resource
import time
from collections.abc import Callable
from functools import partial
from typing import cast
from urllib.parse import urlsplit

from harness import BenchmarkError, cpu_seconds

AT_ONCE = 200
"""Connections that are opened at the same time: a server's backlog is not what is measured."""
REST_SECONDS = 0.5
TICK_SECONDS = 0.05
CPU_TICK = 0.01
PATIENCE_SECONDS = 60.0


class Crowd:
    """All connections to one address.

    `request` makes the bytes for a connection's number and the count of broadcasts so far; `marker` is in what a
    client gets when it is woken, and in nothing else.
    """

    def __init__(self, url: str, request: Callable[[int, int], bytes], marker: bytes) -> None:
        self._address = urlsplit(url).hostname or "", urlsplit(url).port or 0
        self._request = request
        self._marker = marker
        self._members: list[_Member] = []
        self._moments: list[float] = []
        self._all_woken = asyncio.Event()
        self._problem = ""
        self._broadcasts = 0

    async def park(self, count: int, server: int) -> float:
        """Open connections until there are so many and the server has come to rest. Seconds until it had."""
        begin = time.perf_counter()
        loop = asyncio.get_running_loop()
        while (left := count - len(self._members)) > 0:
            new = [_Member(self, len(self._members) + number) for number in range(min(left, AT_ONCE))]
            await asyncio.gather(*(loop.create_connection(partial(_itself, it), *self._address) for it in new))
            self._members += new
        seconds = await at_rest(server) - begin
        self.check()
        return seconds

    async def wake(self, broadcast: bytes) -> list[float]:
        """Send one request beside the others, and wait until all of those have been told. Seconds for each, sorted."""
        self._moments, self._all_woken = [], asyncio.Event()
        self._broadcasts += 1
        _, writer = await asyncio.open_connection(*self._address)
        begin = time.perf_counter()
        writer.write(broadcast)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._all_woken.wait()
        except TimeoutError as error:
            woken, all_of_them = len(self._moments), len(self._members)
            raise BenchmarkError(f"{woken:,} of {all_of_them:,} were woken in {PATIENCE_SECONDS:.0f} s") from error
        finally:
            writer.close()
        self.check()
        return sorted(moment - begin for moment in self._moments)

    def ask_again(self) -> None:
        """For requests that end with their answer: the next one, on the same connections."""
        for member in self._members:
            member.ask()

    def close(self) -> None:
        for member in self._members:
            member.leave()
        self._members = []

    def check(self) -> None:
        """BenchmarkError if a connection was refused, closed, or answered with something else than 200."""
        if self._problem:
            raise BenchmarkError(self._problem)

    def asked(self, number: int) -> bytes:
        return self._request(number, self._broadcasts)

    def told(self, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 200"):
            self.failed(f"a waiting request was answered {data.splitlines()[0].decode()}")
        if self._marker in data:
            self._moments.append(time.perf_counter())
            if len(self._moments) == len(self._members):
                self._all_woken.set()

    def failed(self, problem: str) -> None:
        self._problem = self._problem or problem
        self._all_woken.set()


class _Member(asyncio.Protocol):
    def __init__(self, crowd: Crowd, number: int) -> None:
        self._crowd = crowd
        self._number = number
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are that but for the base class
        self.ask()

    def data_received(self, data: bytes) -> None:
        self._crowd.told(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._crowd.failed(f"the server closed a waiting connection: {exc or 'without an error'}")

    def ask(self) -> None:
        assert self._transport is not None
        self._transport.write(self._crowd.asked(self._number))

    def leave(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()


def _itself(member: _Member) -> _Member:
    return member


async def at_rest(pid: int) -> float:
    """Wait until a server has used next to no CPU for half a second; when it began to rest (`time.perf_counter`)."""
    last, moment = cpu_seconds(pid), time.perf_counter()
    while time.perf_counter() - moment < REST_SECONDS:
        await asyncio.sleep(TICK_SECONDS)
        now = cpu_seconds(pid)
        if now - last > CPU_TICK:
            moment = time.perf_counter()
        last = now
    return moment


def allow_connections(count: int) -> None:
    """Raise this process's limit of open files, which what it starts inherits. BenchmarkError if it may not."""
    wanted = count + 256
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise BenchmarkError(f"this process may open {hard:,} files, {wanted:,} are needed: ulimit -Hn {wanted}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
