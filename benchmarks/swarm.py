"""Many clients in one process, apart from the server's: each asks, fetches, works, uploads, reports and asks again.

Run by load.py: swarm.py ORDERS RESULT, two files of JSON. All clients wait for the training, or they come to it one by
one. When a client reports is drawn uniformly from the seconds after the training began; it sends one heartbeat half way
there, so that a round has one of every call from each.
"""

import asyncio
import hashlib
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import numpy as np
import uvloop
from connection import Answer, Connection
from crowd import AT_ONCE, allow_connections, at_rest
from harness import BenchmarkError, cpu_seconds

STEP = 0.001
PATIENCE_SECONDS = 240.0
LOOK_SECONDS = 0.02
"""Between two looks whether the version is there."""
WORK_SECONDS = 2.0
"""Of a client that comes to a training, between its coming and its report."""


class Orders(msgspec.Struct, frozen=True):
    """What the swarm is to do."""

    url: str
    server: int
    """The server's process, which has to come to rest before anything is measured."""
    actor: str
    """The token that starts the training."""
    start: str
    """The path that starts it."""
    tokens: list[str]
    seconds: float
    """In which the reports come; 0: nobody works, the clients are woken and that is all."""
    seed: int
    coming: bool = False
    """The clients come one by one in these seconds, to a training that has started, and work for `WORK_SECONDS`."""
    version: str = ""
    """The path of the version that must come out; empty: none does."""


class Result(msgspec.Struct, frozen=True):
    """Seconds that calls took, by kind, sorted; and of the round."""

    calls: dict[str, list[float]]
    cpu: float
    """Of the server, from the start of the training to the end of this."""
    last_task: float
    """From the start of the training until the last client had its task."""
    last_report: float = 0.0
    """Until the last report was answered."""
    version: float = 0.0
    """From then until the version was here, whole and right."""


class Client(msgspec.Struct):
    """One of the swarm."""

    number: int
    connection: Connection
    moment: float
    """Share of the seconds after which it reports."""
    task: dict[str, object] = {}

    @property
    def examples(self) -> int:
        return 1 + self.number % 7

    @property
    def constant(self) -> float:
        return STEP * (1 + self.number)


async def main(orders: Orders) -> Result:
    allow_connections(len(orders.tokens))
    address = urlsplit(orders.url)
    host, port = address.hostname or "", address.port or 0
    rng = random.Random(orders.seed)  # noqa: S311  # a pace, no secret
    clients: list[Client] = []
    for first in range(0, len(orders.tokens), AT_ONCE):
        some = await asyncio.gather(
            *(Connection.to(host, port, token) for token in orders.tokens[first : first + AT_ONCE])
        )
        clients += [Client(first + index, connection, rng.random()) for index, connection in enumerate(some)]
    actor = await Connection.to(host, port, orders.actor)
    swarm = Swarm(orders, clients, actor)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await swarm.run()
    except TimeoutError:
        raise BenchmarkError(f"no end after {PATIENCE_SECONDS:.0f} s; {swarm.done_so_far()}") from None
    finally:
        for connection in (actor, *(client.connection for client in clients)):
            connection.close()


class Swarm:
    """All of them, and the clock of their training."""

    def __init__(self, orders: Orders, clients: Sequence[Client], actor: Connection) -> None:
        self._orders = orders
        self._clients = clients
        self._actor = actor
        self._began = 0.0
        self._calls: dict[str, list[float]] = {}
        self._last_task = 0.0
        self._last_report = 0.0
        self._base = b""
        self._waits: list[asyncio.Task[Answer]] = []
        """Who has reported waits for more, as clients do."""

    async def run(self) -> Result:
        lives: list[asyncio.Task[None]] = []
        if not self._orders.coming:
            lives = [asyncio.create_task(self._wait_and_work(client)) for client in self._clients]
        try:
            await asyncio.sleep(0)
            await at_rest(self._orders.server)
            before, self._began = cpu_seconds(self._orders.server), time.perf_counter()
            self._note("start", await self._actor.ask("POST", self._orders.start))
            if self._orders.coming:
                lives = [asyncio.create_task(self._come_and_work(client)) for client in self._clients]
            await asyncio.gather(*lives)
        finally:
            for life in (*lives, *self._waits):
                life.cancel()
        version = await self._version() if self._orders.version else 0.0
        cpu = cpu_seconds(self._orders.server) - before
        for times in self._calls.values():
            times.sort()
        return Result(self._calls, cpu, self._last_task, max(0.0, self._last_report - self._began), version)

    def done_so_far(self) -> str:
        return ", ".join(f"{name}: {len(times)}" for name, times in self._calls.items())

    async def _wait_and_work(self, client: Client) -> None:
        asked = _expected(await self._next(client), "the question for work")
        self._calls.setdefault("task after the start", []).append(asked.moment - self._began)
        await self._take(client, asked)

    async def _come_and_work(self, client: Client) -> None:
        await _until(self._began + client.moment * self._orders.seconds)
        asked = await self._next(client)
        self._note("task", asked)
        await self._take(client, asked)

    async def _take(self, client: Client, asked: Answer) -> None:
        self._last_task = max(self._last_task, asked.moment - self._began)
        client.task = msgspec.json.decode(asked.body)
        if self._orders.seconds:
            await self._work(client)

    async def _work(self, client: Client) -> None:
        """Everything between a task and the next."""
        task, ask = client.task, client.connection.ask
        base = _expected(await ask("GET", str(task["params"])), "the base")
        self._note("base", base)
        if len(base.body) != task["size"]:
            raise BenchmarkError(f"the base has {len(base.body)} bytes of {task['size']}")
        self._base = base.body
        ends = self._began + client.moment * self._orders.seconds + (WORK_SECONDS if self._orders.coming else 0)
        await _until((time.perf_counter() + ends) / 2)
        self._note("heartbeat", await ask("POST", f"/api/tasks/{task['id']}/heartbeat/", b'{"progress": 0.5}'))
        await _until(ends)
        update = trained(base.body, client.constant)
        digest = hashlib.sha256(update).hexdigest()
        path = f"/api/tasks/{task['id']}/update/{digest}/"
        self._note("update", await ask("PUT", path, update, kind="application/octet-stream"))
        report = {"digest": digest, "num_examples": client.examples, "metrics": {"loss": 1.0}, "seconds": 1.0}
        done = await ask("POST", f"/api/tasks/{task['id']}/report/", msgspec.json.encode(report))
        self._note("report", done)
        self._last_report = max(self._last_report, done.moment)
        self._waits.append(asyncio.create_task(self._next(client)))

    async def _next(self, client: Client) -> Answer:
        return await client.connection.ask(
            "POST", "/api/tasks/next/?wait=120", msgspec.json.encode({"instance": f"swarm-{client.number}"})
        )

    def _note(self, name: str, answer: Answer) -> None:
        _expected(answer, name)
        self._calls.setdefault(name, []).append(answer.seconds)

    async def _version(self) -> float:
        """Ask until the version is there, and see whether it is the one that must come out."""
        while (answer := await self._actor.ask("GET", self._orders.version)).status == 404:  # noqa: ASYNC110  # the server's
            await asyncio.sleep(LOOK_SECONDS)
        _expected(answer, "the version")
        weights = np.array([client.examples for client in self._clients], np.float64)
        constants = np.array([client.constant for client in self._clients], np.float64)
        wanted = arrays(self._base) + weights @ constants / weights.sum()
        if not np.allclose(arrays(answer.body), wanted, rtol=0, atol=1e-5):
            raise BenchmarkError("the version is wrong, so the figures mean nothing")
        return answer.moment - self._last_report


def trained(base: bytes, constant: float) -> bytes:
    """The update of a client that has learned a constant."""
    start = _data(base)
    return base[:start] + (np.frombuffer(base, "<f4", offset=start) + np.float32(constant)).tobytes()


def arrays(file: bytes) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.frombuffer(file, "<f4", offset=_data(file)).astype(np.float64)


def _data(file: bytes) -> int:
    """Where the numbers of a safetensors file begin."""
    return 8 + int.from_bytes(file[:8], "little")


def _expected(answer: Answer, what: str) -> Answer:
    if answer.status not in (200, 202):
        raise BenchmarkError(f"{what} was answered {answer.status}: {answer.body[:300]!r}")
    return answer


async def _until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.perf_counter()))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            result = runner.run(main(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Orders)))
        except BenchmarkError as error:
            sys.exit(f"No result: {error}")
    Path(sys.argv[2]).write_bytes(msgspec.json.encode(result))
