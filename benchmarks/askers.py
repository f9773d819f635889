"""Callers of a model in one process, apart from the server's: one at a time, at a fixed pace, and fifty at a time.

Run by inference.py: askers.py ORDERS RESULT, two files of JSON. Every answer is compared with what the program gives
here; another one ends the run without a result.
"""

import asyncio
import io
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import numpy as np
import torch
import uvloop
from connection import Answer, Connection
from crowd import at_rest
from harness import BenchmarkError, cpu_seconds

IMAGES = 16
PATH = "/api/inference/"


class Orders(msgspec.Struct, frozen=True):
    """What is asked, and how often."""

    url: str
    server: int
    """The server's process, which has to come to rest before anything is measured."""
    token: str
    model: str
    second: str
    """A model that nobody has asked before."""
    program: bytes
    """Of both, as TorchScript."""
    calls: int
    """Of the one caller."""
    pace: float
    """Questions in a second, of the open loop."""
    callers: int
    """Of the closed loop."""
    seconds: float
    """Of either loop."""
    seed: int


class Result(msgspec.Struct, frozen=True):
    """Seconds that calls took, sorted."""

    first: float
    """Of the server: the sandbox begins with it."""
    first_of_second: float
    """Of another model, while the sandbox is warm."""
    plain: list[float]
    """The forward pass alone, in this process."""
    least: list[float]
    """A request that is authenticated and answered with the caller's own record."""
    alone: list[float]
    open_loop: list[float]
    """From the moment when the question was due."""
    closed_loop: list[float]
    closed_rate: float
    closed_cpu: float
    """Of the server, for each question of the closed loop."""


@dataclass(frozen=True)
class Question:
    """An image, its message, and the class that the program gives it."""

    image: torch.Tensor
    message: bytes
    wanted: list[int]


class Asker:
    """Asks over connections of its own."""

    def __init__(self, orders: Orders, questions: Sequence[Question]) -> None:
        parts = urlsplit(orders.url)
        self._address = parts.hostname or "", parts.port or 80
        self._token, self.questions = orders.token, questions

    async def connection(self) -> Connection:
        return await Connection.to(*self._address, self._token)

    async def ask(self, over: Connection, number: int) -> Answer:
        """Question `number`, answered rightly. BenchmarkError."""
        question = self.questions[number % len(self.questions)]
        answer = await over.ask("POST", PATH, question.message)
        if answer.status != 200 or msgspec.json.decode(answer.body)["inference"] != question.wanted:
            raise BenchmarkError(
                f"question {number} was answered {answer.status} {answer.body[:300]!r}; wanted is {question.wanted}"
            )
        return answer


async def main(orders: Orders) -> Result:
    torch.set_num_threads(1)  # as each of the sandbox's processes has it where there are as many as cores
    net = torch.jit.load(io.BytesIO(orders.program)).eval()  # type: ignore[no-untyped-call]  # torch declares no types
    asker = Asker(orders, questions(net, orders.model, orders.seed))
    other = Asker(orders, questions(net, orders.second, orders.seed))
    over = await asker.connection()
    first = (await asker.ask(over, 0)).seconds
    await at_rest(orders.server)
    first_of_second = (await other.ask(over, 0)).seconds
    for number in range(4 * IMAGES):  # TorchScript optimises a program while it is called first
        await asker.ask(over, number)
        await asyncio.to_thread(forward, net, asker.questions[0].image)
    plain, least, alone = await one_caller(asker, over, net, orders.calls)
    over.close()
    await at_rest(orders.server)
    open_loop = await at_pace(asker, orders.pace, orders.seconds)
    await at_rest(orders.server)
    closed, rate, cpu = await closed_loop(asker, orders)
    return Result(first, first_of_second, plain, least, alone, open_loop, closed, rate, cpu)


def questions(net: torch.nn.Module, model: str, seed: int) -> list[Question]:
    rng = np.random.default_rng(seed)
    return [question(net, model, rng.random((1, 1, 28, 28)).round(3)) for _ in range(IMAGES)]


def question(net: torch.nn.Module, model: str, pixels: np.ndarray) -> Question:
    image = torch.from_numpy(pixels.astype(np.float32))
    message = msgspec.json.encode({"model_id": model, "model_input": pixels.tolist()})
    return Question(image, message, [int(forward(net, image).argmax())])


def forward(net: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        output: torch.Tensor = net(image)
    return output


async def one_caller(
    asker: Asker, over: Connection, net: torch.nn.Module, calls: int
) -> tuple[list[float], list[float], list[float]]:
    """In turn: the forward pass here, the least that a request costs, and the question."""
    plain, least, alone = [], [], []
    for number in range(calls):
        began = time.perf_counter()
        forward(net, asker.questions[number % IMAGES].image)
        plain.append(time.perf_counter() - began)
        least.append((await over.ask("GET", "/api/users/myself/")).seconds)
        alone.append((await asker.ask(over, number)).seconds)
    return sorted(plain), sorted(least), sorted(alone)


async def at_pace(asker: Asker, pace: float, seconds: float) -> list[float]:
    """Questions at even moments, whether or not earlier ones were answered; each timed from its moment."""
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(int(pace)):
        free.put_nowait(await asker.connection())
    began = time.perf_counter() + 0.1

    async def ask(number: int) -> float:
        due = began + number / pace
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        over = await free.get()
        answer = await asker.ask(over, number)
        free.put_nowait(over)
        return answer.moment - due

    return sorted(await asyncio.gather(*(ask(number) for number in range(int(pace * seconds)))))


async def closed_loop(asker: Asker, orders: Orders) -> tuple[list[float], float, float]:
    """Callers who ask again as soon as they are answered: seconds of each call, calls in a second, the server's CPU."""
    times: list[float] = []
    before, began = cpu_seconds(orders.server), time.perf_counter()

    async def caller(number: int) -> None:
        over = await asker.connection()
        while time.perf_counter() < began + orders.seconds:
            times.append((await asker.ask(over, number)).seconds)
            number += 1

    await asyncio.gather(*(caller(number) for number in range(orders.callers)))
    spent = time.perf_counter() - began
    return sorted(times), len(times) / spent, (cpu_seconds(orders.server) - before) / len(times)


if __name__ == "__main__":
    told, result = map(Path, sys.argv[1:3])
    found = uvloop.run(main(msgspec.json.decode(told.read_bytes(), type=Orders)))
    result.write_bytes(msgspec.json.encode(found))
