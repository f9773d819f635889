"""What to do next with a training: `decide(facts, now)`.

The server reads the facts from its rows, asks here, and carries the answer out in one guarded transaction. A
decision that comes twice, late, or from facts that are no longer true moves no row and does no harm.

    COLLECTING   every required client has reported → close; the quorum has → close; the deadline has passed with
                 enough reports → close. Nobody is left to wait for, and too few have reported → abandon.
    AGGREGATING  nobody holds the claim → aggregate.
    AGGREGATED   the plan evaluates this round → open the evaluation; else the round is done.
    EVALUATING   as COLLECTING, but it is done with however few reports there are.
    no round     the plan's rounds are done → complete; else open the next, or a new attempt.

A client is *required* from the opening of the round until its lease ends without a sign of life, its own code fails,
or it leaves. While no client has come at all, a round waits for them: nothing is lost by waiting, and the record says
so. Its clock (the deadline, and OFFER_SECONDS for those who have not come) begins with the first that comes, so that
clients may be started long after their training.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from hansa.rounds.plan import Plan, evaluates, min_reports
from hansa.rounds.states import RoundState, TrainingStatus

LEASE_SECONDS = 60.0
OFFER_SECONDS = 60.0
CLAIM_SECONDS = 60.0
MAX_FAILURES = 3
"""After so many abandoned attempts in a row the training stops with the reason, instead of trying for ever."""


@dataclass(frozen=True, slots=True)
class TaskCounts:
    """How many tasks of one kind stand in which state."""

    offered: int = 0
    leased: int = 0
    reported: int = 0
    lost: int = 0
    failed: int = 0

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
        """Tasks a client has come for, whatever became of them. Offers nobody took are LOST too, but only after
        another was taken, so that this is never 0 by mistake.
        """
        return self.leased + self.reported + self.lost + self.failed


@dataclass(frozen=True, slots=True)
class RoundFacts:
    """The newest attempt of a training, if it is alive."""

    number: int
    attempt: int
    state: RoundState
    opened_at: datetime
    """When the present phase (collecting, evaluating) began."""
    tasks: TaskCounts
    """Of the present phase's kind."""
    first_taken_at: datetime | None = None
    """When the first client came for its task; None: not known, and the clock runs from `opened_at`."""
    next_expiry: datetime | None = None
    """The earliest end of a lease."""
    claimed_until: datetime | None = None
    """AGGREGATING: until when somebody is known to work on it."""
    gone: str = ""
    """The clients that are lost or failed and why, for the reason of an abandoned round."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that `decide` looks at."""

    status: TrainingStatus
    plan: Plan
    rounds_done: int
    participants: int
    failures: int = 0
    """Attempts abandoned since a round was last done or a person last resumed the training."""
    last_failure: str = ""
    next_attempt: int = 1
    """Of the round after the last one that is done."""
    round: RoundFacts | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `until`; None: until something happens."""

    reason: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class OpenRound:
    """Select a cohort and offer its clients a TRAIN task each."""

    number: int
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class ExpireLeases:
    """LEASED → LOST where the lease has ended."""

    reason: str


@dataclass(frozen=True, slots=True)
class DropOffers:
    """OFFERED → LOST: the clients did not come for their tasks in time."""

    reason: str


@dataclass(frozen=True, slots=True)
class CloseRound:
    """COLLECTING → AGGREGATING, with the accepted list written in the same transaction."""

    reason: str


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Claim the round and compute its version."""

    reason: str


@dataclass(frozen=True, slots=True)
class OpenEvaluation:
    """AGGREGATED → EVALUATING, with an EVALUATE task for each client that reported."""

    reason: str


@dataclass(frozen=True, slots=True)
class FinishRound:
    """AGGREGATED | EVALUATING → DONE."""

    reason: str


@dataclass(frozen=True, slots=True)
class AbandonRound:
    """COLLECTING → ABANDONED; the next decision opens a new attempt or stops the training."""

    reason: str


@dataclass(frozen=True, slots=True)
class Complete:
    """The training is COMPLETED."""

    reason: str


@dataclass(frozen=True, slots=True)
class Fail:
    """The training goes to ERROR; the reason says what a person can do."""

    reason: str


Decision = (
    Wait
    | OpenRound
    | ExpireLeases
    | DropOffers
    | CloseRound
    | Aggregate
    | OpenEvaluation
    | FinishRound
    | AbandonRound
    | Complete
    | Fail
)


def decide(facts: Facts, now: datetime) -> Decision:
    """The next thing to do with a training, and why. Pure; see the module's docstring for the rules."""
    if facts.status != TrainingStatus.ONGOING:
        return Wait(f"the training is {facts.status}")
    match facts.round:
        case None:
            return _between_rounds(facts)
        case RoundFacts(state=RoundState.COLLECTING) as current:
            return _collecting(facts, current, now)
        case RoundFacts(state=RoundState.AGGREGATING) as current:
            return _aggregating(current, now)
        case RoundFacts(state=RoundState.AGGREGATED) as current:
            if evaluates(facts.plan, round_number=current.number) and current.tasks.reported:
                return OpenEvaluation(f"round {current.number} is aggregated; its clients evaluate the version")
            return FinishRound(f"round {current.number} is aggregated; the plan does not evaluate it")
        case RoundFacts() as current:
            return _evaluating(facts, current, now)


def _between_rounds(facts: Facts) -> Decision:
    number = facts.rounds_done + 1
    if number > facts.plan.rounds:
        return Complete(f"all {facts.plan.rounds} rounds are done")
    if facts.participants == 0:
        return Fail("no client is left in the training. Add clients, then resume it.")
    if facts.failures >= MAX_FAILURES:
        return Fail(
            f"round {number} was tried {facts.failures} times without success. Last reason: {facts.last_failure} "
            "Mend that, then resume the training."
        )
    again = f", attempt {facts.next_attempt}: {facts.last_failure}" if facts.failures else ""
    return OpenRound(number, facts.next_attempt, f"round {number} of {facts.plan.rounds} begins{again}")


def _collecting(facts: Facts, current: RoundFacts, now: datetime) -> Decision:
    tasks, needed = current.tasks, min_reports(facts.plan, cohort=current.tasks.total)
    if current.next_expiry is not None and current.next_expiry <= now:
        return ExpireLeases("the lease ended without a sign of life")
    quorum = facts.plan.closing.quorum
    if quorum is not None and tasks.reported >= quorum:
        return CloseRound(f"the quorum of {quorum} has reported")
    if tasks.outstanding == 0:
        if tasks.reported >= needed:
            left = tasks.total - tasks.reported
            without = f"; {left} left out" + (f": {current.gone}" if current.gone else "")
            return CloseRound(f"{tasks.reported} of {tasks.total} clients have reported" + (without if left else ""))
        gone = f" ({current.gone})" if current.gone else ""
        return AbandonRound(
            f"only {tasks.reported} of {tasks.total} clients have reported, {needed} are needed, and nobody is left "
            f"to wait for{gone}."
        )
    deadline = _deadline(facts.plan, current)
    if deadline is not None and deadline <= now and tasks.taken:
        if tasks.reported >= needed:
            return CloseRound(f"the deadline has passed with {tasks.reported} of {tasks.total} reports")
        return AbandonRound(
            f"the deadline of {facts.plan.closing.deadline_seconds:g} s passed with {tasks.reported} of {tasks.total} "
            f"reports, {needed} are needed."
        )
    return _wait_for_clients(current, now, deadline)


def _evaluating(facts: Facts, current: RoundFacts, now: datetime) -> Decision:
    tasks = current.tasks
    if current.next_expiry is not None and current.next_expiry <= now:
        return ExpireLeases("the lease ended without a sign of life")
    if tasks.outstanding == 0:
        return FinishRound(f"{tasks.reported} of {tasks.total} clients have evaluated the version")
    deadline = _deadline(facts.plan, current)
    if deadline is not None and deadline <= now:
        return FinishRound(f"the deadline has passed with {tasks.reported} of {tasks.total} evaluations")
    if tasks.offered and not tasks.taken and _offer_end(current) <= now:
        return DropOffers("the client did not come for its evaluation in time")
    return _wait_for_clients(current, now, deadline)


def _aggregating(current: RoundFacts, now: datetime) -> Decision:
    if current.claimed_until is not None and current.claimed_until > now:
        return Wait(f"round {current.number} is being aggregated", current.claimed_until)
    return Aggregate(f"round {current.number} has closed")


def _wait_for_clients(current: RoundFacts, now: datetime, deadline: datetime | None) -> Decision:
    tasks = current.tasks
    if tasks.offered and tasks.taken and _offer_end(current) <= now:
        return DropOffers("the client did not come for its task in time")
    if not tasks.taken:
        none_came = f"waiting for clients: none of the {tasks.total} selected has asked for work yet"
        evaluating = current.state is RoundState.EVALUATING
        return Wait(none_came, _earliest(_offer_end(current), deadline) if evaluating else None)
    doing = "evaluated" if current.state is RoundState.EVALUATING else "reported"
    return Wait(
        f"{tasks.reported} of {tasks.total} clients have {doing}; {tasks.leased} at work, {tasks.offered} not yet come",
        _earliest(current.next_expiry, deadline, _offer_end(current) if tasks.offered else None),
    )


def _earliest(*moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)


def _deadline(plan: Plan, current: RoundFacts) -> datetime | None:
    seconds = plan.closing.deadline_seconds
    return None if seconds is None else _clock_start(current) + timedelta(seconds=seconds)


def _offer_end(current: RoundFacts) -> datetime:
    return _clock_start(current) + timedelta(seconds=OFFER_SECONDS)


def _clock_start(current: RoundFacts) -> datetime:
    return current.first_taken_at or current.opened_at
