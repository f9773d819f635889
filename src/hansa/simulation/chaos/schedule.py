"""Which process is killed, and when: a function of the seed.

About half of the kills come at a random moment, the others at a crash point that trainings like these pass, or while
the server is starting again after a kill. The same seed gives the same schedule. What the processes are doing at those
moments is the machine's: two runs of one seed do not die in the same instruction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final


class Target(StrEnum):
    """Who is killed."""

    SERVER = "server"
    CLIENT = "client"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Kill:
    """One entry of a schedule."""

    number: int
    """From 1."""
    target: Target
    client: int | None
    """Which client; None where none is killed."""
    after: float
    """Seconds on a machine that is not slow: from the end of the kill before, or, while `starting`, from the start of
    the server's process."""
    starting: bool = False
    """The server is killed before it serves."""
    point: str = ""
    """Of `hansa.crashpoints`, with the passing of it to die at; empty: at a random moment."""

    @property
    def hits_server(self) -> bool:
        """Whether the server is among those killed."""
        return self.target is not Target.CLIENT


LONGEST_WAIT: Final = 0.8
LONGEST_START: Final = 1.2
STARTING_SHARE: Final = 0.15
AIMED_SHARE: Final = 0.5
MOST_PASSINGS: Final = 2

_SERVER_CHANGES: Final = (
    "aggregation.claim",
    "aggregation.commit",
    "aggregation.drop_claims",
    "registry.create_model",
    "rounds.CloseRound",
    "rounds.CloseSwag",
    "rounds.Complete",
    "rounds.FinishRound",
    "rounds.OpenEvaluation",
    "rounds.OpenRound",
    "rounds.OpenSwag",
    "rounds.RelayRound",
    "tasks.forgive_downtime",
    "tasks.lease_next",
    "tasks.record_upload",
    "tasks.report",
    "trainings.create",
    "trainings.start",
)
SERVER_POINTS: Final = (
    *(f"{change}.{side}" for change in _SERVER_CHANGES for side in ("written", "committed")),
    "aggregation.chunk",
    "aggregation.computed",
    "blobs.placed",
    "forms.received",
    "models.ingested",
    "server.migrated",
    "server.opened",
    "uploads.checked",
    "uploads.complete",
    "uploads.written",
)
"""Those that the server passes in trainings like these, within seconds of a start."""
CLIENT_POINTS: Final = (
    "client.block_sent",
    "client.downloaded",
    "client.entry_forgotten",
    "client.file_written",
    "client.leased",
    "client.reported",
    "client.result_noted",
    "client.trained",
    "client.upload_noted",
    "client.uploaded",
)


def schedule(*, seed: int, kills: int, clients: int) -> tuple[Kill, ...]:
    """So many kills among a server and so many clients.

    Nobody's first kill is aimed: a process is told its point when it starts, and the first start is for setting up.
    """
    rng = Random(seed)  # noqa: S311  # to be repeated, not to be secret
    drawn: list[Kill] = []
    for number in range(1, kills + 1):
        drawn.append(_draw(rng, number, clients, drawn))
    return tuple(drawn)


def _draw(rng: Random, number: int, clients: int, before: Sequence[Kill]) -> Kill:
    target = rng.choices([Target.SERVER, Target.CLIENT, Target.BOTH], weights=[6, 3, 1])[0]
    client = None if target is Target.SERVER else rng.randrange(clients)
    manner = rng.random()
    if target is Target.SERVER and manner < STARTING_SHARE and before and before[-1].hits_server:
        return Kill(number, target, client, rng.uniform(0.0, LONGEST_START), starting=True)
    again = any(kill.hits_server if client is None else kill.client == client for kill in before)
    if target is not Target.BOTH and manner < AIMED_SHARE and again:
        point = rng.choice(SERVER_POINTS if client is None else CLIENT_POINTS)
        return Kill(number, target, client, 0.0, point=f"{point}:{rng.randint(1, MOST_PASSINGS)}")
    return Kill(number, target, client, rng.uniform(0.0, LONGEST_WAIT))
