"""Whatever clients do, and whenever they stop doing it: a training goes on, ends, or waits and says for what."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from hypothesis import event, given
from hypothesis import strategies as st

from hansa.rounds.decide import CLAIM_SECONDS, LEASE_SECONDS, decide
from hansa.rounds.decisions import (
    AbandonRound,
    Aggregate,
    CloseRound,
    CloseSwag,
    Combine,
    Complete,
    Decision,
    DropOffers,
    ExpireLeases,
    Fail,
    FinishRound,
    GoOn,
    OpenCalibration,
    OpenEvaluation,
    OpenRound,
    OpenSwag,
    Pause,
    RelayRound,
    SkipMoments,
    Wait,
)
from hansa.rounds.facts import Facts, RoundFacts, TaskCounts
from hansa.rounds.plan import (
    Plan,
    UnsoundPlanError,
    aggregates,
    check,
    check_against,
    cohort_size,
    invitations,
    min_reports,
    min_there,
    parse,
)
from hansa.rounds.states import LIVE_ROUND_STATES, RoundState, TaskState, TrainingStatus

START = datetime(2026, 1, 1, tzinfo=UTC)
CLIENTS = 6

plans = st.builds(
    lambda versions, chain, method, scores, cohort, closing, every, participation: parse(
        {
            "rounds": versions * (chain["period"] if chain else 1),
            "cohort": {key: value for key, value in cohort.items() if not (chain and key == "over_selection")},
            "participation": participation,
            "closing": closing,
            "evaluation": {"every": every},
            "uncertainty": {"method": method, "calibration": {"scores": scores if every else None}},
            "daisy_chain": chain,
        }
    ),
    versions=st.integers(1, 3),
    chain=st.sampled_from([None, None, {"period": 2}, {"period": 3}]),
    method=st.sampled_from(["none", "swag"]),
    scores=st.sampled_from([None, "lac"]),
    cohort=st.sampled_from([{}, {"fraction": 0.5}, {"size": 4}, {"size": 3, "over_selection": 0.5}]),
    closing=st.sampled_from(
        [
            {},
            {"quorum": 2},
            {"quorum": 3, "min_reports": 2},
            {"deadline_seconds": 45},
            {"deadline_seconds": 500, "quorum": 1},
        ]
    ),
    every=st.integers(0, 2),
    participation=st.sampled_from([{}, {}, {"min_to_start": 4}, {"min_to_start": 3, "min_to_go_on": 2}]),
)


@dataclass
class Task:
    state: TaskState = TaskState.OFFERED
    lease_until: datetime = START


@dataclass
class Attempt:
    number: int
    attempt: int
    opened_at: datetime
    tasks: dict[int, Task]
    wanted: int | None = None
    state: RoundState = RoundState.COLLECTING
    first_taken_at: datetime | None = None
    claimed_until: datetime | None = None
    trained: dict[int, Task] = field(default_factory=dict)
    """The TRAIN tasks, once those of another phase are looked at."""


@dataclass
class World:
    """What the server's services do with decisions and reports, in memory."""

    plan: Plan
    now: datetime = START
    status: TrainingStatus = TrainingStatus.ONGOING
    clients: set[int] = field(default_factory=lambda: set(range(CLIENTS)))
    away: set[int] = field(default_factory=set)
    awaits_clients: bool = False
    rounds_done: int = 0
    failures: int = 0
    attempts: int = 0
    current: Attempt | None = None
    aggregator_dies: bool = False

    def facts(self) -> Facts:
        facts = Facts(
            status=self.status,
            plan=self.plan,
            rounds_done=self.rounds_done,
            participants=len(self.clients),
            there=len(self.clients - self.away),
            awaits_clients=self.awaits_clients,
            failures=self.failures,
            last_failure="it was abandoned.",
            next_attempt=self.attempts + 1,
        )
        if self.current is None:
            return facts
        states = [task.state for task in self.current.tasks.values()]
        leases = [task.lease_until for task in self.current.tasks.values() if task.state is TaskState.LEASED]
        counted = ("offered", "leased", "reported", "lost", "failed")
        return replace(
            facts,
            round=RoundFacts(
                number=self.current.number,
                attempt=self.current.attempt,
                state=self.current.state,
                opened_at=self.current.opened_at,
                tasks=TaskCounts(**{state: states.count(TaskState(state)) for state in counted}),
                wanted=self.current.wanted,
                first_taken_at=self.current.first_taken_at,
                next_expiry=min(leases, default=None),
                claimed_until=self.current.claimed_until,
            ),
        )

    def carry_out(self, decision: Decision) -> None:  # noqa: PLR0912  # a table: one case per decision
        match decision, self.current:
            case OpenRound(number, attempt), None:
                wanted = cohort_size(self.plan, participants=len(self.clients))
                invited = invitations(self.plan, participants=len(self.clients))
                tasks = {client: Task() for client in sorted(self.clients)[:invited]}
                self.attempts = attempt
                self.current = Attempt(number, attempt, self.now, tasks, wanted if invited > wanted else None)
            case ExpireLeases(), Attempt() as current:
                for task in current.tasks.values():
                    if task.state is TaskState.LEASED and task.lease_until <= self.now:
                        task.state = TaskState.LOST
            case DropOffers(), Attempt() as current:
                for task in current.tasks.values():
                    if task.state is TaskState.OFFERED:
                        task.state = TaskState.LOST
            case CloseRound(), Attempt(state=RoundState.COLLECTING) as current:
                current.state = RoundState.AGGREGATING
            case Aggregate(), Attempt(state=RoundState.AGGREGATING) as current:
                self._compute(current, RoundState.AGGREGATED)
            case OpenSwag(), Attempt(state=RoundState.AGGREGATED) as current:
                current.trained = current.tasks
                self._ask(current, RoundState.SWAG)
            case CloseSwag(), Attempt(state=RoundState.SWAG) as current:
                current.state = RoundState.COMBINING
            case Combine(), Attempt(state=RoundState.COMBINING) as current:
                self._compute(current, RoundState.COMBINED)
            case SkipMoments(), Attempt(state=RoundState.SWAG) as current:
                current.state = RoundState.COMBINED
            case OpenEvaluation(), Attempt(state=RoundState.AGGREGATED | RoundState.COMBINED) as current:
                current.trained = current.trained or current.tasks
                self._ask(current, RoundState.EVALUATING)
            case OpenCalibration(), Attempt(state=RoundState.EVALUATING) as current:
                self._ask(current, RoundState.CALIBRATING)
            case (
                FinishRound(),
                Attempt(
                    state=RoundState.AGGREGATED | RoundState.COMBINED | RoundState.EVALUATING | RoundState.CALIBRATING
                ),
            ) | (RelayRound(), Attempt(state=RoundState.COLLECTING)):
                self.rounds_done, self.failures, self.attempts, self.current = self.rounds_done + 1, 0, 0, None
            case AbandonRound(), Attempt(state=RoundState.COLLECTING):
                self.failures, self.current = self.failures + 1, None
            case Pause(), None:
                self.status, self.awaits_clients = TrainingStatus.PAUSED, True
            case GoOn(), None:
                self.status, self.awaits_clients = TrainingStatus.ONGOING, False
            case Complete(), None:
                self.status = TrainingStatus.COMPLETED
            case Fail(), None:
                self.status = TrainingStatus.ERROR
            case _:
                raise AssertionError(f"{decision} cannot be carried out in {self}")
        if self.current is not None and self.current.state is RoundState.COMBINED:
            self.current.tasks = self.current.trained

    def _compute(self, current: Attempt, done: RoundState) -> None:
        current.claimed_until = self.now + timedelta(seconds=CLAIM_SECONDS)
        if not self.aggregator_dies:
            current.state, current.claimed_until = done, None
        self.aggregator_dies = False

    def _ask(self, current: Attempt, phase: RoundState) -> None:
        """Those who reported and have not left are asked for more."""
        reported = [client for client, task in current.trained.items() if task.state is TaskState.REPORTED]
        current.state, current.opened_at, current.first_taken_at = phase, self.now, None
        current.tasks = {client: Task() for client in reported if client in self.clients}

    def act(self, action: str, client: int) -> None:
        """One thing that can happen outside the server; nothing, where it cannot happen now."""
        open_states = (RoundState.COLLECTING, RoundState.SWAG, RoundState.EVALUATING, RoundState.CALIBRATING)
        current = self.current
        task = current.tasks.get(client) if current and current.state in open_states else None
        match action, task.state if task else None:
            case "take" | "heartbeat", TaskState.OFFERED | TaskState.LOST | TaskState.LEASED:
                self._lease(current, task)
            case "report", TaskState.LEASED | TaskState.LOST:
                task.state = TaskState.REPORTED
            case "fail", TaskState.LEASED:
                task.state = TaskState.FAILED
            case "release", TaskState.LEASED:
                task.state = TaskState.LOST
            case "go away", _:
                self.away.add(client)
            case "come", _:
                self.away.discard(client)
            case "leave", _:
                self.clients.discard(client)
                if task and task.state is not TaskState.REPORTED:
                    task.state = TaskState.CLOSED
            case "aggregator dies", _:
                self.aggregator_dies = True

    def _lease(self, current: Attempt, task: Task) -> None:
        task.state, task.lease_until = TaskState.LEASED, self.now + timedelta(seconds=LEASE_SECONDS)
        current.first_taken_at = current.first_taken_at or self.now

    def settle(self) -> Wait:
        """Carry out decisions until there is nothing to do."""
        for _ in range(50):
            facts = self.facts()
            decision = decide(facts, self.now)
            assert decision.reason
            check_decision(decision, facts, self.now)
            if isinstance(decision, Wait):
                return decision
            self.carry_out(decision)
        raise AssertionError(f"50 decisions at one moment, and still {decision}: {self}")


def check_decision(decision: Decision, facts: Facts, now: datetime) -> None:
    """What must hold of every decision, whatever the facts."""
    match decision, facts.round:
        case Wait(until=until), _:
            assert until is None or until > now, "what is due now is done now"
        case CloseRound() | RelayRound(), RoundFacts(number=number, tasks=tasks, wanted=wanted):
            assert tasks.reported >= min_reports(facts.plan, cohort=min(tasks.total, wanted or tasks.total))
            assert isinstance(decision, CloseRound) == aggregates(facts.plan, round_number=number)
        case OpenSwag() | CloseSwag(), RoundFacts(tasks=tasks):
            assert facts.plan.uncertainty.method == "swag"
            assert tasks.reported
        case SkipMoments(), RoundFacts(tasks=tasks):
            assert not tasks.reported
        case OpenCalibration(), RoundFacts(tasks=tasks):
            assert facts.plan.uncertainty.calibration.scores is not None
            assert tasks.reported
        case OpenRound(number), None:
            assert number == facts.rounds_done + 1 <= facts.plan.rounds
            minimum = min_there(facts.plan, round_number=number)
            assert minimum == 1 or facts.there >= minimum
        case Pause(), None:
            assert facts.there < min_there(facts.plan, round_number=facts.rounds_done + 1)
        case GoOn(), None:
            assert facts.awaits_clients, "what a person paused is not gone on with"
        case Complete(), None:
            assert facts.rounds_done == facts.plan.rounds


seconds = st.sampled_from([0, 0, 0, 1, 5, 31, 61, 600])
of_one = st.tuples(
    st.sampled_from(["take", "heartbeat", "report", "fail", "release", "leave", "go away", "come", "aggregator dies"]),
    st.integers(0, CLIENTS - 1).map(lambda client: [client]),
    seconds,
)
of_many = st.tuples(st.sampled_from(["take", "report"]), st.integers(1, CLIENTS).map(lambda n: [*range(n)]), seconds)
Steps = list[tuple[str, list[int], float]]
walks = st.lists(of_one | of_many, max_size=60)


def walk(plan: Plan, steps: Steps) -> World:
    world = World(plan)
    world.settle()
    for action, clients, pause in steps:
        world.now += timedelta(seconds=pause)
        for client in clients:
            world.act(action, client)
        world.settle()
    return world


@given(plans, walks)
def test_when_all_clients_fall_silent_the_training_ends_or_waits_for_a_first_client(plan: Plan, steps: Steps) -> None:
    world = walk(plan, steps)
    for _ in range(100):
        waiting = world.settle()
        if waiting.until is None:
            break
        world.now = waiting.until
    else:
        raise AssertionError(f"it waits again and again: {waiting}")
    event(f"{world.status}, after {world.rounds_done} rounds")
    if world.status is TrainingStatus.PAUSED:
        assert world.awaits_clients
        assert world.current is None
        assert "are there" in waiting.reason
    if world.status is TrainingStatus.ONGOING:
        assert world.current.state is RoundState.COLLECTING, "what is asked around a version is given up in time"
        assert {task.state for task in world.current.tasks.values()} <= {TaskState.OFFERED, TaskState.CLOSED}
        assert "has asked for work yet" in waiting.reason


@given(plans, walks)
def test_when_all_clients_that_are_left_come_back_the_training_completes(plan: Plan, steps: Steps) -> None:
    world = walk(plan, steps)
    world.away.clear()
    world.settle()
    for _ in range(100):
        if world.status is not TrainingStatus.ONGOING:
            break
        for client in range(CLIENTS):
            world.act("take", client)
        for client in range(CLIENTS):
            world.act("report", client)
        waiting = world.settle()
        if waiting.until is not None:
            world.now = max(world.now, waiting.until)
            world.settle()
    event(f"{world.status}, after {world.rounds_done} rounds")
    if world.status is TrainingStatus.PAUSED:
        assert len(world.clients) < min_there(plan, round_number=world.rounds_done + 1), "too few are left"
        return
    assert world.status in {TrainingStatus.COMPLETED, TrainingStatus.ERROR}
    if world.status is TrainingStatus.ERROR:
        assert not can_be_held(plan, len(world.clients)) or world.failures >= 3
    else:
        assert world.rounds_done == plan.rounds


def can_be_held(plan: Plan, participants: int) -> bool:
    """Whether so many participants can fulfil the plan at all."""
    try:
        check_against(plan, participants=participants)
    except UnsoundPlanError:
        return False
    return participants > 0


counts = st.builds(TaskCounts, *[st.integers(0, 5)] * 5)
moments = st.integers(-1000, 1000).map(lambda seconds: START + timedelta(seconds=seconds))
rounds = st.none() | st.builds(
    RoundFacts,
    number=st.integers(1, 3),
    attempt=st.integers(1, 9),
    state=st.sampled_from(sorted(LIVE_ROUND_STATES)),
    opened_at=moments,
    tasks=counts,
    first_taken_at=st.none() | moments,
    next_expiry=st.none() | moments,
    claimed_until=st.none() | moments,
    wanted=st.none() | st.integers(1, 5),
    gone=st.sampled_from(["", "bob: gone"]),
)
any_facts = st.builds(
    Facts,
    status=st.sampled_from(TrainingStatus),
    plan=plans,
    rounds_done=st.integers(0, 4),
    participants=st.integers(0, 5),
    excluded=st.integers(0, 5),
    there=st.integers(0, 5),
    awaits_clients=st.booleans(),
    failures=st.integers(0, 9),
    last_failure=st.sampled_from(["", "it failed."]),
    next_attempt=st.integers(1, 9),
    round=rounds,
)


@given(any_facts)
def test_every_state_of_the_facts_has_a_decision_with_a_reason(facts: Facts) -> None:
    decision = decide(facts, START)
    assert decision.reason
    if isinstance(decision, Wait):
        assert decision.until is None or decision.until > START
    if facts.status is not TrainingStatus.ONGOING:
        awaiting = facts.status is TrainingStatus.PAUSED and facts.awaits_clients
        assert isinstance(decision, Wait | GoOn if awaiting else Wait)


@given(any_facts)
def test_a_decision_is_the_same_however_often_it_is_asked_for(facts: Facts) -> None:
    assert decide(facts, START) == decide(facts, START)


@given(
    rounds=st.integers(1, 10**6),
    fraction=st.none() | st.floats(0, 1, exclude_min=True),
    participants=st.integers(0, 10**6),
)
def test_a_cohort_is_never_empty_nor_larger_than_the_participants(
    rounds: int, fraction: float | None, participants: int
) -> None:
    plan = parse({"rounds": rounds, "cohort": {"fraction": fraction}})
    check(plan)
    size = cohort_size(plan, participants=participants)
    assert min(1, participants) <= size <= participants
    if fraction is not None and participants:
        assert size - 1 < fraction * participants * (1 + 1e-12)
