"""Clients' programs: they ask for work, train, stay alive, send, report; and fail, die, come back, or run twice."""

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from hansa.protocol.errors import ErrorCode
from hansa.protocol.tasks import TaskKind
from simulation.invariants import WITHOUT_FILE, BrokenError, Watch
from simulation.network import Network
from simulation.process import Answer, Assignment, Process
from simulation.rows import Refused
from simulation.timeline import Timeline

HEARTBEAT_SECONDS = 20.0
DROPPED = frozenset(
    {
        ErrorCode.ROUND_CLOSED,
        ErrorCode.TASK_CLOSED,
        ErrorCode.WRONG_STATE,
        ErrorCode.NOT_FOUND,
        ErrorCode.BLOB_DAMAGED,
    }
)
Body = dict[str, Any]  # Any: JSON
MOMENTS = 1000
"""Values from here on stand for moments."""


@dataclass(frozen=True, slots=True)
class Habits:
    """What a program is like; chances are those of each task."""

    slowest: float
    """Seconds that it trains at most."""
    fails: float = 0.0
    gives_back: float = 0.0
    dies: float = 0.0
    """While it works; it comes back by itself."""
    away: float = 100.0
    """Seconds at most until then."""
    mute: bool = False
    """It sends no heartbeats."""
    restless: bool = False
    """It never trains twice to the same bytes."""
    lies: float = 0.0
    """It reports what it has not sent."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a task, as the program's journal has it."""

    of: Assignment
    value: int | None
    examples: int


class Program:
    """One process with a client's token."""

    def __init__(self, client: int, instance: str, habits: Habits, line: "Line") -> None:
        self.client, self.instance, self.habits, self.line = client, instance, habits, line
        self.on = False
        self.gone = False
        """It never comes back."""
        self._life = 0
        self._number = 0
        self._idle = False
        self._works_until = 0.0
        self._journal: Result | None = None

    def start(self) -> None:
        """It runs: what it had not finished first, then the next task."""
        if self.gone:
            return
        self.on, self._life = True, self._life + 1
        if self._journal is not None:
            self._upload(self._journal)
        else:
            self._ask()

    def stop(self, *, gone: bool = False) -> None:
        """It is killed; its journal stays."""
        self.on, self._idle, self.gone = False, False, self.gone or gone
        self._number += 1

    def wake(self) -> None:
        """There is work, says the server to whom waits for it."""
        if self.on and self._idle:
            self._ask()

    def calm_down(self) -> None:
        """From now on it does what is asked of it, in reasonable time.

        A death that was due already is a short one, and work that would last is begun anew: attempts of rounds are
        counted, and those that end in the calm must fail for the server's reasons alone.
        """
        calm = replace(self.habits, slowest=min(self.habits.slowest, 5.0), fails=0.0, gives_back=0.0, dies=0.0)
        self.habits = replace(calm, mute=False, lies=0.0, away=1.0)
        if not self.on or self._works_until > self.line.timeline.seconds + self.habits.slowest:
            self.start()

    def _ask(self) -> None:
        self._idle = False
        self._call("ask", partial(self.line.service.ask, self.client, self.instance), self._assigned)

    def _assigned(self, given: Assignment | None) -> None:
        if given is None:
            self._idle = True
            self._later(self.line.timeline.between(5.0, 40.0), partial(self._in_this, self._number, self.wake))
            return
        timeline, habits = self.line.timeline, self.habits
        seconds = timeline.between(0.1, habits.slowest)
        self._works_until = timeline.seconds + seconds
        outcome: Callable[[], None] = partial(self._trained, given)
        if timeline.chance(habits.fails):
            outcome = partial(self._give_back, given, failed=True)
        elif timeline.chance(habits.gives_back):
            outcome = partial(self._give_back, given, failed=False)
        elif timeline.chance(habits.dies):
            outcome = self._die
        self._later(seconds, partial(self._in_this, self._number, outcome))
        if not habits.mute:
            self._later(HEARTBEAT_SECONDS, partial(self._beat, given, self._number))

    def _die(self) -> None:
        self.line.timeline.note(f"{self} dies")
        self.stop()
        self.line.timeline.after(self.line.timeline.between(0.1, self.habits.away), self._restart)

    def _restart(self) -> None:
        if not self.on:
            self.start()

    def _beat(self, given: Assignment, number: int) -> None:
        """Stay alive, beside the work; stop it where the server says so."""
        if number != self._number:
            return
        renew = partial(self.line.service.renew, self.client, given.task)
        self.line.send(f"{self} renew {given.task[-12:]}", renew, partial(self._beaten, number))
        self._later(HEARTBEAT_SECONDS, partial(self._beat, given, number))

    def _beaten(self, number: int, answer: "str | Refused") -> None:
        if answer and number == self._number and self.on:
            self._drop()

    def _trained(self, given: Assignment) -> None:
        nonce = self.line.timeline.random.getrandbits(30) if self.habits.restless else 0
        value = None
        if given.kind not in WITHOUT_FILE:
            value = zlib.crc32(f"{given.seed} {given.kind} {given.base} {nonce}".encode()) % 211  # two may be equal
            value += MOMENTS if given.kind is TaskKind.SWAG else 0
        self._journal = Result(given, value, 1 + given.seed % 50)
        self._upload(self._journal)

    def _upload(self, result: Result) -> None:
        if result.value is None or self.line.timeline.chance(self.habits.lies):
            self._report(result, None)
            return
        upload = partial(self.line.service.upload, self.client, result.of.task, result.value)
        self._call("upload", upload, partial(self._report, result))

    def _report(self, result: Result, answer: Refused | None) -> None:
        if answer is not None:
            self._refused(result, answer)
            return
        self._call("report", partial(self.line.report, self.client, result), partial(self._reported, result))

    def _reported(self, result: Result, answer: str | Refused) -> None:
        if isinstance(answer, Refused):
            self._refused(result, answer)
        else:
            self._drop()

    def _refused(self, result: Result, answer: Refused) -> None:
        if answer.code == ErrorCode.UPLOAD_INCOMPLETE:
            self._upload(result)
        elif answer.code in DROPPED or (answer.code == ErrorCode.DIGEST_CONFLICT and self.habits.restless):
            self._drop()
        else:
            raise BrokenError(f"{self} was told {answer} for {result}")

    def _drop(self) -> None:
        """Done with it, one way or another."""
        self._journal = None
        self._number += 1
        self._ask()

    def _give_back(self, given: Assignment, *, failed: bool) -> None:
        give = partial(self.line.service.give_back, self.client, given.task, failed=failed)
        self._call("give back", give, lambda answer: self._drop())

    def _call(self, what: str, call: Callable[..., Any], then: Answer) -> None:  # Any: what the service gives
        """Send it again and again until it is answered."""
        self._number += 1
        self._send(self._number, f"{self} {what}", call, then, 4.0)

    def _send(self, number: int, what: str, call: Callable[..., Any], then: Answer, patience: float) -> None:
        if number != self._number:
            return
        self.line.send(what, call, partial(self._hear, number, then))
        self._later(patience, partial(self._send, number, what, call, then, min(30.0, 2 * patience)))

    def _hear(self, number: int, then: Answer, answer: Any) -> None:  # Any: as above
        if number == self._number and self.on:
            self._number += 1
            then(answer)

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        """Unless the program dies before."""
        life = self._life
        self.line.timeline.after(seconds, lambda: act() if self.on and life == self._life else None)

    def _in_this(self, number: int, act: Callable[[], None]) -> None:
        """Unless it has taken up something else meanwhile."""
        if number == self._number:
            act()

    def __str__(self) -> str:
        return f"client {self.client}{self.instance}"


class Line:
    """The way from programs to the process and back."""

    def __init__(self, timeline: Timeline, network: Network, process: Process, watch: Watch) -> None:
        self.timeline, self.network, self.process, self.watch = timeline, network, process, watch
        self.service = process.service

    def send(self, what: str, call: Callable[..., Any], answer: Answer) -> None:  # Any: what the service gives
        """One request; its answer, if one comes, goes back the same way."""

        def arrive() -> None:
            self.process.handle(what, partial(call, now=self.timeline.now), back)

        def back(given: Any) -> None:  # Any: as above
            self.network.carry(lambda: answer(given))

        self.network.carry(arrive)

    async def report(self, client: int, result: Result, *, now: datetime) -> str:
        """A report; what is answered with a receipt is durable."""
        task = result.of.task
        try:
            given = self.service.report(client, task, result.value, result.examples, now)
            digest = given if isinstance(given, str) else await given
        except Refused as refused:
            self.watch.refuse_again(task, refused.code)
            raise
        self.watch.acknowledge(task, digest)
        return digest

    async def older_report(
        self, client: int, kind: TaskKind, body: dict[str, Any], value: int, *, now: datetime
    ) -> None:
        """A form of the older platform, answered as above."""
        del now
        task, digest = await self.service.send_result(client, kind, body, value)
        if task:
            self.watch.acknowledge(task, digest)


class _Wakes(Protocol):
    client: int

    def wake(self) -> None: ...


def wake(programs: Iterable[_Wakes], client: int) -> None:
    """A client has work: all its programs may ask."""
    for program in programs:
        if program.client == client:
            program.wake()
