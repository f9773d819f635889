"""Programs that wait to be told: they train, send a form until it is answered, and forget all when they die."""

import zlib
from functools import partial
from typing import Any

from hansa.protocol.errors import ErrorCode
from hansa.protocol.tasks import TaskKind
from simulation.clients import DROPPED, MOMENTS, Habits, Line
from simulation.invariants import BrokenError
from simulation.rows import Refused

KINDS = {
    "UPDATE_ROUND_START": TaskKind.TRAIN,
    "SWAG_ROUND_START": TaskKind.SWAG,
    "MODEL_TEST_ROUND": TaskKind.EVALUATE,
}
NOT_MINE = DROPPED | {ErrorCode.DIGEST_CONFLICT, ErrorCode.PERMISSION_DENIED}


class PushProgram:
    """One process with an endpoint, of a client of the older platform."""

    def __init__(self, client: int, habits: Habits, line: Line) -> None:
        self.client, self.habits, self.line = client, habits, line
        self.on = self.gone = False
        self._life = 0

    def start(self) -> None:
        if not self.gone:
            self.on, self._life = True, self._life + 1

    def stop(self, *, gone: bool = False) -> None:
        self.on, self.gone = False, self.gone or gone

    def wake(self) -> None:
        """It does not ask."""

    def calm_down(self) -> None:
        self.habits = Habits(slowest=min(self.habits.slowest, 5.0))
        if not self.on:
            self.start()

    def hear(self, message: dict[str, Any]) -> bool:  # Any: JSON
        """It is told of something. False: it refuses."""
        kind = KINDS.get(message["notification_type"])
        if kind is None:
            return True
        if self.line.timeline.chance(self.habits.fails):
            return False
        if self.line.timeline.chance(self.habits.dies):
            self._die()
        else:
            seconds = self.line.timeline.between(0.1, self.habits.slowest)
            self.line.timeline.after(seconds, partial(self._trained, self._life, kind, message["body"]))
        return True

    def _die(self) -> None:
        self.stop()
        self.line.timeline.after(self.line.timeline.between(0.1, self.habits.away), self.start)

    def _trained(self, life: int, kind: TaskKind, body: dict[str, Any]) -> None:  # Any: JSON
        nonce = self.line.timeline.random.getrandbits(30) if self.habits.restless else 0
        value = zlib.crc32(f"{self.client} {kind} {body} {nonce}".encode()) % 211
        value += MOMENTS if kind is TaskKind.SWAG else 0
        self._send(Errand(life, kind, body, value), 4.0)

    def _send(self, errand: "Errand", patience: float) -> None:
        """Again and again, until it is answered."""
        if errand.is_done or errand.life != self._life or not self.on:
            return
        what = f"client {self.client} sends {errand.kind}"
        form = partial(self.line.older_report, self.client, errand.kind, errand.body, errand.value)
        self.line.send(what, form, partial(self._hear_back, errand))
        self.line.timeline.after(patience, partial(self._send, errand, min(30.0, 2 * patience)))

    def _hear_back(self, errand: "Errand", answer: object) -> None:
        if isinstance(answer, Refused) and answer.code not in NOT_MINE:
            raise BrokenError(f"client {self.client} was told {answer} for {errand.kind} {errand.body}")
        # What cannot be compared with its base now, because that is damaged, is sent again.
        errand.is_done = not (isinstance(answer, Refused) and answer.code == ErrorCode.BLOB_DAMAGED)


class Errand:
    """Something on its way to the server."""

    def __init__(self, life: int, kind: TaskKind, body: dict[str, Any], value: int) -> None:  # Any: JSON
        self.life, self.kind, self.body, self.value = life, kind, body, value
        self.is_done = False
