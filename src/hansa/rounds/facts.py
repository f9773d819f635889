"""All that `decide` looks at: counts, moments and the plan, as the rows have them now."""

from dataclasses import dataclass
from datetime import datetime

from hansa.rounds.plan import Plan
from hansa.rounds.states import RoundState, TrainingStatus


@dataclass(frozen=True, slots=True)
class TaskCounts:
    """How many tasks of one kind stand in which state."""

    offered: int = 0
    leased: int = 0
    reported: int = 0
    lost: int = 0
    failed: int = 0
    absent: int = 0
    """Of the lost, those no client ever came for."""

    @property
    def total(self) -> int:
        """The size of the cohort."""
        return self.offered + self.leased + self.reported + self.lost + self.failed

    @property
    def outstanding(self) -> int:
        """Clients still required that have not reported."""
        return self.offered + self.leased

    @property
    def taken(self) -> int:
        """Tasks a client has come for, whatever became of them."""
        return self.leased + self.reported + self.lost + self.failed - self.absent


@dataclass(frozen=True, slots=True)
class RoundFacts:
    """The newest attempt of a training, if it is alive."""

    number: int
    attempt: int
    state: RoundState
    opened_at: datetime
    """When the present phase (collecting, SWAG, evaluating) began."""
    tasks: TaskCounts
    """Of the present phase's kind; where none is at work, of those that trained."""
    wanted: int | None = None
    """COLLECTING: how many reports close it, where more clients than that were invited."""
    first_taken_at: datetime | None = None
    """When the first client came for its task, or the training last went on after a pause or a restart, whichever is
    later; None: not known, and the clock runs from `opened_at`."""
    busy: int = 0
    """Offers whose clients are at work on another task just now: they cannot come."""
    being_told: int = 0
    """COLLECTING, before anybody came: offers whose clients are still being told of them."""
    untold: int = 0
    """COLLECTING, before anybody came: offers that could not be sent to where their clients have their endpoints."""
    others_waiting: int = 0
    """COLLECTING, before anybody came: participants that have no part in the round, are there, and do nothing else."""
    next_expiry: datetime | None = None
    """The earliest end of a lease."""
    claimed_until: datetime | None = None
    """AGGREGATING, COMBINING: until when somebody is known to work on it."""
    gone: str = ""
    """The clients that are lost or failed and why, for the reason of what went on without them."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that `decide` looks at."""

    status: TrainingStatus
    plan: Plan
    rounds_done: int
    participants: int
    """Those who can be selected; counted between rounds."""
    excluded: int = 0
    """Those who take part and cannot be selected, because their tasks failed too often."""
    there: int = 0
    """Of the participants those who are known to be there; counted where the plan asks for more than one."""
    more_there_at: datetime | None = None
    """When there may be one more without anybody's doing."""
    awaits_clients: bool = False
    """PAUSED by a `Pause`, not by a person."""
    failures: int = 0
    """Attempts abandoned since a round was last done or a person last resumed the training."""
    last_failure: str = ""
    next_attempt: int = 1
    """Of the round after the last one that is done."""
    round: RoundFacts | None = None
