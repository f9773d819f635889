"""Carries a schedule of kills out, and has every process that died started again at once.

A process that is to die at a crash point is told so when it starts. It may die there before its turn in the schedule
comes; it is started again, and its turn is over. If its turn comes and the point is not reached within seconds, it is
killed where it is.
"""

import http.client
import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hansa.simulation.chaos.processes import Process, ProcessError
from hansa.simulation.chaos.schedule import Kill

AIM_SECONDS = 2.0
USUAL_START_SECONDS = 1.5
SLOWEST_PACE = 4.0
"""Where a server takes longer than usual to start, the clients take longer for a round too: the waits of the schedule
are as many times as long, up to this, so that something happens between two kills."""
START_SECONDS = 60.0
ASK_SECONDS = 0.01
ANSWER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Killed:
    """A kill was carried out."""

    kill: Kill
    at_point: bool
    """It died at its crash point; else at the moment it was."""


@dataclass(frozen=True, slots=True)
class Served:
    """The server answers again."""

    seconds: float
    """From the death of the process before to the first answer of the new one."""


StormEvent = Killed | Served


@dataclass
class Tally:
    """What has happened so far."""

    kills_by: Counter[str] = field(default_factory=Counter)
    """By "point", or by the target of what was killed at another moment."""
    serving_seconds: list[float] = field(default_factory=list)
    answers: int = 0
    stale_answers: int = 0
    """Answers of a process that should be dead."""
    points: Counter[str] = field(default_factory=Counter)
    """How often a process died at which crash point."""


class Storm:
    """A server and its clients under a schedule."""

    def __init__(
        self,
        server: Process,
        clients: Sequence[Process],
        *,
        port: int,
        kills: Sequence[Kill],
        tell: Callable[[StormEvent], None],
    ) -> None:
        self.server = server
        self.clients = clients
        self.tally = Tally()
        self.url = f"http://127.0.0.1:{port}"
        self.kills = kills
        self._port = port
        self._tell = tell
        self._done: set[int] = set()
        self._aimed: dict[str, Kill] = {}
        """By the name of the process that was told a point, the kill that it is for."""

    @property
    def restarts(self) -> int:
        """How often a process was started again."""
        return sum(process.starts - 1 for process in (self.server, *self.clients) if process.starts)

    def begin(self) -> None:
        """Start the server, and wait until it serves."""
        self.server.start()
        self._until_it_serves(cut=None)

    def join(self) -> None:
        """Start the clients."""
        for client in self.clients:
            client.start()

    def strike(self, kill: Kill) -> None:
        """Carry one kill out, unless it is done already, and start again what it killed."""
        self._wait(kill)
        if kill.number in self._done:
            return
        victims = [self.clients[kill.client]] if kill.client is not None else []
        if kill.hits_server:
            victims.append(self.server)
        for victim in victims:
            victim.kill()
        self._note(kill, at_point=False)
        for victim in victims:
            if victim is not self.server:
                self._start(victim)
        if kill.hits_server:
            self._serve_again()

    def mind(self) -> None:
        """Start again whoever has died at a crash point, and look who answers on the server's port, by a connection of
        its own. Raises ProcessError for who ended by itself.
        """
        for client in self.clients:
            if self._died(client):
                self._start(client)
        if self._died(self.server):
            self._serve_again()
        else:
            self.answers()

    def _wait(self, kill: Kill) -> None:
        end = time.monotonic() + self._pace() * (AIM_SECONDS if kill.point else kill.after)
        while kill.number not in self._done and time.monotonic() < end:
            self.mind()
            time.sleep(ASK_SECONDS)

    def _pace(self) -> float:
        last = self.tally.serving_seconds[-1] if self.tally.serving_seconds else 0.0
        return min(max(1.0, last / USUAL_START_SECONDS), SLOWEST_PACE)

    def _died(self, process: Process) -> bool:
        code = process.ended()
        if code is None:
            return False
        kill = self._aimed.get(process.name)
        if kill is None or kill.number in self._done or code != -signal.SIGKILL:
            raise process.unexpected(code)
        self._note(kill, at_point=True)
        return True

    def _note(self, kill: Kill, *, at_point: bool) -> None:
        self._done.add(kill.number)
        self.tally.kills_by["point" if at_point else kill.target.value] += 1
        if at_point:
            self.tally.points[kill.point.partition(":")[0]] += 1
        self._tell(Killed(kill, at_point))

    def _start(self, process: Process) -> None:
        """Start a process, and tell it its point if the next kill that concerns it has one."""
        coming = next((kill for kill in self.kills if self._concerns(kill, process)), None)
        self._aimed.pop(process.name, None)
        if coming is not None and coming.point:
            self._aimed[process.name] = coming
        process.start(crash_at=coming.point if coming is not None else "")

    def _concerns(self, kill: Kill, process: Process) -> bool:
        if kill.number in self._done:
            return False
        if process is self.server:
            return kill.hits_server
        return kill.client is not None and self.clients[kill.client] is process

    def _serve_again(self) -> None:
        """Start the server until it serves; the kill that comes next may be for before it does."""
        while True:
            died = self.server.died_at
            self._start(self.server)
            coming = next((kill for kill in self.kills if kill.number not in self._done), None)
            cut = coming if coming is not None and coming.starting else None
            if self._until_it_serves(cut):
                break
        self.tally.serving_seconds.append(time.monotonic() - died)
        self._tell(Served(self.tally.serving_seconds[-1]))

    def _until_it_serves(self, cut: Kill | None) -> bool:
        """Wait for the first answer; False if the server has died before it, by `cut` or at its point."""
        began = time.monotonic()
        while not self.answers():
            if self._died(self.server):
                return False
            seconds = time.monotonic() - began
            if cut is not None and seconds >= cut.after:
                self.server.kill()
                self._note(cut, at_point=False)
                return False
            if seconds > START_SECONDS:
                raise ProcessError(
                    f"the server does not answer {START_SECONDS:g} s after its start; {self.server.last_words()}"
                )
            time.sleep(ASK_SECONDS)
        return True

    def answers(self) -> bool:
        """Whether the server's process answers. An answer of any other process is counted as stale."""
        pid = asked_pid(self._port)
        if pid is None:
            return False
        self.tally.answers += 1
        if pid != self.server.pid:
            self.tally.stale_answers += 1
        return pid == self.server.pid


def asked_pid(port: int) -> int | None:
    """The process that answers on a port of this machine; None if there is no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/api/health/")
        answer = connection.getresponse()
        return int(json.load(answer)["pid"]) if answer.status == http.client.OK else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
