"""Requests that wait: what each costs the server, and how soon the last one knows when all are woken."""

import asyncio
import json
import os
import secrets
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec
import uvloop
from crowd import Crowd, allow_connections, at_rest
from environments import PEERS
from harness import START_SECONDS, BenchmarkError, Child, child, free_port, rss_kib, serving, threads

from hansa.client.api import Api
from hansa.client.transport import Transport
from hansa.server.process import BACKLOG, BACKPRESSURE

CONNECTIONS = (2000, 5000)
BROADCASTS = 5
FIRST_REQUESTS = 50
"""Before the memory is looked at: what is made once is not a connection's."""


class Wake(msgspec.Struct, frozen=True):
    """Milliseconds from one broadcast until clients knew: medians over five broadcasts."""

    p50_ms: float
    p99_ms: float
    last_ms: float


class Figures(msgspec.Struct, frozen=True):
    """Of one kind of waiting at one scale."""

    server: str
    waiting: str
    connections: int
    kib_per_connection: float
    threads_before: int
    threads_after: int
    seconds_to_open: float
    wake: Wake | None
    """None where there is nothing that wakes all at once."""


class Waiting(msgspec.Struct, frozen=True):
    """How a server is made to wait."""

    server: str
    waiting: str
    url: str
    pid: int
    head: str
    """The request, but for what differs from one to the next."""
    body: str = ""
    wakes: bool = False
    again: bool = False
    """Whether an answer ends the wait, so that the client has to ask again."""

    def request(self, number: int, after: int) -> bytes:
        """The one of a connection, when there have been so many broadcasts."""
        body = self.body.format(number=number)
        head = self.head.format(after=after)
        return f"{head}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode() if body else f"{head}\r\n\r\n".encode()


def benchmark(folder: Path, scales: Sequence[int]) -> list[Figures]:
    """Every kind of waiting at every scale, each on a server of its own."""
    allow_connections(max(scales))
    found = []
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for count in scales:
            for kind in (hansa, polls, streams):
                place = folder / f"{kind.__name__}-{count}"
                place.mkdir()
                with kind(place) as waiting:
                    found.append(runner.run(measure(waiting, count)))
    return found


async def measure(waiting: Waiting, count: int) -> Figures:
    crowd = Crowd(waiting.url, waiting.request, marker=b'"number"')
    try:
        await crowd.park(FIRST_REQUESTS, waiting.pid)
        crowd.close()
        await at_rest(waiting.pid)
        memory, before = rss_kib(waiting.pid), threads(waiting.pid)
        seconds = await crowd.park(count, waiting.pid)
        memory, parked = rss_kib(waiting.pid) - memory, threads(waiting.pid)
        wakes = []
        for _ in range(BROADCASTS if waiting.wakes else 0):
            wakes.append(await crowd.wake(BROADCAST))
            if waiting.again:
                crowd.ask_again()
            await at_rest(waiting.pid)
    finally:
        crowd.close()
    return Figures(
        server=waiting.server,
        waiting=waiting.waiting,
        connections=count,
        kib_per_connection=round(memory / count, 1),
        threads_before=before,
        threads_after=parked,
        seconds_to_open=round(seconds, 2),
        wake=wake_of(wakes) if wakes else None,
    )


def wake_of(wakes: Sequence[Sequence[float]]) -> Wake:
    def median_at(share: float) -> float:
        return round(statistics.median(times[round(share * (len(times) - 1))] for times in wakes) * 1000, 1)

    return Wake(p50_ms=median_at(0.5), p99_ms=median_at(0.99), last_ms=median_at(1.0))


@contextmanager
def hansa(folder: Path) -> Iterator[Waiting]:
    """`hansa serve` as it ships, and one client that waits for work: with one token, on every connection."""
    with serving(folder) as server:
        with Transport(server.url) as anonymous:
            token = Api(anonymous).enroll(server.api.invite("waiting").code).token
        head = (
            f"POST /api/tasks/next/?wait=120 HTTP/1.1\r\nHost: {server.url.removeprefix('http://')}\r\n"
            f"Authorization: Token {token}\r\nContent-Type: application/json"
        )
        body = '{{"instance": "instance-{number}"}}'
        yield Waiting("hansa serve", "long poll", server.url, server.child.process.pid, head, body)


@contextmanager
def polls(folder: Path) -> Iterator[Waiting]:
    """Long polls on the small project."""
    with lifecycle(folder) as (url, process):
        head = f"GET /poll/?after={{after}} HTTP/1.1\r\nHost: {url.removeprefix('http://')}"
        yield Waiting("lifecycle", "long poll", url, process.process.pid, head, wakes=True, again=True)


@contextmanager
def streams(folder: Path) -> Iterator[Waiting]:
    """Event streams on the small project."""
    with lifecycle(folder) as (url, process):
        head = f"GET /events/ HTTP/1.1\r\nHost: {url.removeprefix('http://')}\r\nAccept: text/event-stream"
        yield Waiting("lifecycle", "event stream", url, process.process.pid, head, wakes=True)


BROADCAST = b"POST /broadcast/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def lifecycle(folder: Path) -> Iterator[tuple[str, Child]]:
    """The small project on the lifecycle's handler, under granian as `hansa serve` has it."""
    port = str(free_port())
    url = f"http://127.0.0.1:{port}"
    options = {"host": "127.0.0.1", "port": port, "backlog": BACKLOG, "backpressure": BACKPRESSURE, "http": "1"}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--no-ws", "--log-level", "error", *words]
    paths = os.pathsep.join(filter(None, (str(PEERS), os.environ.get("PYTHONPATH"))))
    settings = {**os.environ, "PYTHONPATH": paths, "PARKED_SECRET_KEY": secrets.token_hex(25)}
    log = folder / "server.log"
    with child("the small project", [*command, "parked.asgi:application"], log=log, env=settings) as it:
        wait_for(url, it)
        yield url, it


def wait_for(url: str, server: Child) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        server.check()
        try:
            answer = httpx.head(f"{url}/poll/")
        except httpx.TransportError as error:
            if time.monotonic() > until:
                raise BenchmarkError(f"no answer in {START_SECONDS:.0f} s: {error}") from error
            time.sleep(0.05)
        else:
            if not answer.is_success:
                raise BenchmarkError(
                    f"the small project answers {answer.status_code}; its log: {server.log.read_text()[-500:]}"
                )
            return


def as_json(found: Sequence[Figures], circumstances: Mapping[str, object]) -> str:
    return json.dumps({**circumstances, "broadcasts": BROADCASTS, "rows": msgspec.to_builtins(found)})


def described(found: Sequence[Figures]) -> str:
    """For people."""
    lines = [
        f"memory for each connection in KiB, wake in ms (medians of {BROADCASTS} broadcasts)",
        f"{'':25}{'waiting':>8}{'KiB':>7}{'threads':>11}{'open s':>8}{'p50':>8}{'p99':>8}{'last':>8}",
    ]
    for it in found:
        wake = (
            "  not woken at once"
            if it.wake is None
            else "".join(f"{value:8.0f}" for value in (it.wake.p50_ms, it.wake.p99_ms, it.wake.last_ms))
        )
        changed = f"{it.threads_before} → {it.threads_after}"
        lines.append(
            f"{it.server:12}{it.waiting:13}{it.connections:8,}{it.kib_per_connection:7.1f}{changed:>11}"
            f"{it.seconds_to_open:8.2f}{wake}"
        )
    return "\n".join(lines)
