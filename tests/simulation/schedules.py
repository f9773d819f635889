"""A schedule: all that a seed decides, played from the beginning to the end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any

from hansa.rounds import plan as plans
from hansa.rounds.plan import Plan
from hansa.rounds.states import FINAL_TRAINING_STATUSES, TrainingStatus
from simulation import stragglers
from simulation.clients import Habits, Line, Program, wake
from simulation.invariants import BrokenError, Watch, check_end
from simulation.machine import Faults, Machine
from simulation.network import CALM, Network, Weather
from simulation.process import Process, Service
from simulation.push_clients import PushProgram
from simulation.rows import Key
from simulation.timeline import Timeline
from support.databases import on_postgresql

PATIENCE = 5_000.0
"""Virtual seconds, once the faults have stopped, until every training has come to its end."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large schedules are at most: what is cheap to play may be larger."""

    clients: int
    rounds: int
    second_training: float
    """Of a hundred schedules, so many hundredths have two trainings of the same clients."""
    trouble_seconds: float
    damages: int
    """Files of which so many at most are damaged, in a third of the schedules."""
    push: float
    """Of a hundred clients, so many hundredths are told of their tasks, in a quarter of the schedules."""
    clock: float
    """Seconds by which the clock is set at most, in a quarter of the schedules."""


LARGE = Sizes(clients=5, rounds=4, second_training=0.2, trouble_seconds=600.0, damages=0, push=0.0, clock=600.0)
SMALL = Sizes(clients=4, rounds=2, second_training=0.1, trouble_seconds=300.0, damages=4, push=0.6, clock=600.0)


@dataclass(frozen=True, slots=True)
class Order:
    """Something that the actor does."""

    at: float
    training: int
    what: str
    clients: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Schedule:
    """What a seed decides before the first event; the rest is drawn as it happens."""

    seed: int
    plans: tuple[Plan, ...]
    members: tuple[tuple[int, ...], ...]
    """Of each training its clients, in join order."""
    programs: tuple[tuple[int, str, Habits], ...]
    gone: tuple[float | None, ...]
    """When each program leaves for good, if it does."""
    weather: Weather
    faults: Faults
    crashes: frozenset[int]
    """At which passings of a crash point the server dies."""
    orders: tuple[Order, ...]
    damages: frozenset[int]
    """At which passings of a crash point the disk damages a file."""
    push: frozenset[int]
    """The clients that are told of their tasks."""
    jumps: tuple[tuple[float, float], ...]
    """When the server's clock is set, and by how many seconds."""
    calm_at: float


def draw(seed: int, sizes: Sizes) -> Schedule:
    """The schedule of a seed."""
    random = Random(f"schedule {seed}")  # noqa: S311  # repeatable, not secret
    is_late = random.random() < stragglers.SHARE
    clients = random.randint(stragglers.MIN_CLIENTS if is_late else 1, sizes.clients)
    trainings = 2 if random.random() < sizes.second_training else 1
    members = tuple(
        tuple(random.sample(range(clients), random.randint(1, clients) if random.random() < 0.3 else clients))
        for _ in range(trainings)
    )
    programs = tuple((client, "a", _habits(random)) for client in range(clients))
    twins = tuple((client, "b", habits) for client, _, habits in programs if random.random() < 0.15)
    calm_at = random.uniform(0.0, sizes.trouble_seconds)
    bad = random.choice([0.0, 0.02, 0.1, 0.3])
    drawn = Schedule(
        seed=seed,
        plans=tuple(_plan(random, len(each), sizes) for each in members),
        members=members,
        programs=programs + twins,
        gone=tuple(random.uniform(0.0, calm_at) if random.random() < 0.12 else None for _ in programs + twins),
        weather=Weather(loss=bad * random.random(), duplication=bad * random.random(), slow=bad * random.random()),
        faults=Faults(
            downtime=random.choice([1.0, 20.0, 200.0]),
            lost_hints=random.choice([0.0, 0.0, 0.1, 0.5]),
            trouble=random.choice([0.0, 0.0, 0.0, 0.2, 0.7]),
            sweep=random.choice([10.0, 30.0, 60.0]),
            slowest_mean=random.choice([0.1, 5.0, 90.0]),
            slowest_batch=random.choice([0.01, 0.5, 10.0]),
        ),
        crashes=frozenset(random.randrange(1, 120) for _ in range(random.choice([0, 1, 1, 2, 4, 8]))),
        orders=_orders(random, members, clients, calm_at),
        damages=_damages(random, sizes),
        push=_push(random, sizes, clients),
        jumps=_jumps(random, sizes, calm_at),
        calm_at=calm_at,
    )
    return _with_stragglers(random, drawn, sizes) if is_late else drawn


def _with_stragglers(random: Random, drawn: Schedule, sizes: Sizes) -> Schedule:
    everybody = tuple(client for client, name, _ in drawn.programs if name == "a")
    return replace(
        drawn,
        plans=tuple(stragglers.late_plan(random, plan, len(everybody)) for plan in drawn.plans),
        members=tuple(everybody for _ in drawn.members),
        programs=stragglers.slow_some(random, drawn.programs),
        weather=stragglers.weather(random),
        faults=stragglers.trouble(random, drawn.faults),
        crashes=frozenset(random.sample(range(20, 120), random.randint(0, 2))),
        orders=(),
        damages=stragglers.damages(random, sizes.damages),
        push=frozenset(),
        jumps=(),
        calm_at=sizes.trouble_seconds,
    )


def _habits(random: Random) -> Habits:
    good = random.random() < 0.5
    return Habits(
        slowest=random.choice([1.0, 10.0, 50.0, 150.0]),
        fails=0.0 if good else random.choice([0.0, 0.1, 0.5]),
        gives_back=0.0 if good else random.choice([0.0, 0.2]),
        dies=0.0 if good else random.choice([0.0, 0.2, 0.5]),
        away=random.choice([1.0, 50.0, 300.0]),
        mute=random.random() < 0.15,
        restless=random.random() < 0.2,
        lies=0.0 if good else random.choice([0.0, 0.3]),
    )


def _plan(random: Random, members: int, sizes: Sizes) -> Plan:
    """A sound plan that so many participants can fulfil."""
    rounds = random.randint(1, sizes.rounds)
    period = random.choice([None, None, None, 2])
    size = random.randint(1, members)
    over = {"over_selection": random.choice([0.0, 0.5, 1.0])} if period is None else {}
    parts: dict[str, Any] = {
        "rounds": rounds if period is None else max(1, rounds // period) * period,
        "daisy_chain": period and {"period": period},
        "seed": random.getrandbits(40),
        "cohort": {
            **random.choice([{}, {}, {"size": size, **over}, {"fraction": random.choice([0.3, 0.5, 0.9]), **over}]),
            "selection": random.choice(["uniform", "uniform", "by_examples", "round_robin"]),
        },
        "participation": {
            "min_to_start": random.choice([1, 1, random.randint(1, members + 1)]),
            "min_to_go_on": random.choice([1, 1, random.randint(1, members)]),
            "exclude_after": random.choice([None, None, 1, 2]),
        },
        "late": _late(random) if period is None else {"kind": "discard"},
        "evaluation": {"every": random.choice([0, 0, 1, 2])},
        "uncertainty": {"method": random.choice(["none", "none", "swag"])},
        "aggregator": {"kind": "weighted_mean", "weighting": random.choice(["examples", "equal"])},
        "closing": {
            "deadline_seconds": random.choice([None, None, 20.0, 200.0]),
            "quorum": random.choice([None, None, random.randint(1, members)]),
            "min_reports": random.choice([None, None, 1, random.randint(1, members)]),
        },
    }
    if parts["evaluation"]["every"] and parts["seed"] % 2:  # nothing more is drawn: seeds keep their schedules
        parts["uncertainty"]["calibration"] = {"scores": "lac", "temperature": bool(parts["seed"] % 3)}
    try:
        plan = plans.parse(parts)
        plans.check_against(plan, participants=members)
    except plans.UnsoundPlanError:
        return plans.parse({**parts, "closing": {}, "cohort": {}})
    return plan


def _late(random: Random) -> dict[str, Any]:
    exponent, most = random.choice([0.0, 0.5, 2.0]), random.randint(1, 3)
    return random.choice([{"kind": "discard"}, {"kind": "fold", "exponent": exponent, "max_staleness": most}])


def _orders(random: Random, members: Sequence[tuple[int, ...]], clients: int, until: float) -> tuple[Order, ...]:
    orders = []
    for training, theirs in enumerate(members):
        for _ in range(random.choice([0, 0, 0, 1, 3])):
            what = random.choice(["pause", "pause", "remove_clients", "leave", "add_clients", "cancel", "resume"])
            named = random.sample(range(clients) if what == "add_clients" else theirs, 1)
            at = random.uniform(0.0, until)
            orders.append(Order(at, training, what, () if what in ("pause", "resume", "cancel") else tuple(named)))
            if what in ("pause", "remove_clients", "leave") and random.random() < 0.7:
                back = "resume" if what == "pause" else "add_clients"
                orders.append(Order(random.uniform(at, until), training, back, orders[-1].clients))
    return tuple(orders)


def _damages(random: Random, sizes: Sizes) -> frozenset[int]:
    if not sizes.damages or random.random() < 0.66:
        return frozenset()
    return frozenset(random.randrange(1, 80) for _ in range(random.randint(1, sizes.damages)))


def _push(random: Random, sizes: Sizes, clients: int) -> frozenset[int]:
    if not sizes.push or random.random() < 0.75:
        return frozenset()
    return frozenset(client for client in range(clients) if random.random() < sizes.push)


def _jumps(random: Random, sizes: Sizes, until: float) -> tuple[tuple[float, float], ...]:
    """Both ways: somebody has set the clock, or the machine slept."""
    if random.random() < 0.75:
        return ()
    far = random.choice([1.0, 60.0, sizes.clock])
    return tuple((random.uniform(0.0, until), random.uniform(-far, far)) for _ in range(random.randint(1, 4)))


MakeService = Callable[[Schedule, Timeline, Machine], Service]


class Play:
    """One schedule in one world."""

    def __init__(self, schedule: Schedule, make: MakeService) -> None:
        self.schedule, self.timeline = schedule, Timeline(schedule.seed)
        self.machine = Machine(schedule.faults, schedule.crashes, schedule.damages)
        self.machine.damage = lambda: self.timeline.after(0.0, self._damage)
        self.service = make(schedule, self.timeline, self.machine)
        self.keys: Sequence[Key] = self.service.trainings
        self.plans: Mapping[Key, Plan] = dict(zip(self.keys, schedule.plans, strict=True))
        self.watch = Watch(self.plans)
        self.watch.see(self.service.rows(), self.timeline.now)
        self.watch.has_older_clients = bool(schedule.push)
        self.network = Network(self.timeline, schedule.weather)
        self.process = Process(self.timeline, self.service, self.machine, self.watch)
        self.line = Line(self.timeline, self.network, self.process, self.watch)
        self.programs = [self._program(*each) for each in schedule.programs]
        self.service.connect(
            self.network, {each.client: each for each in self.programs if isinstance(each, PushProgram)}
        )
        self.service.offered = lambda client: self.timeline.after(0.01, partial(wake, self.programs, client))
        self.is_calm = False
        self._resumed: set[Key] = set()
        self._unanswered: set[Key] = set()

    def _program(self, client: int, name: str, habits: Habits) -> Program | PushProgram:
        if client in self.schedule.push and name == "a":
            return PushProgram(client, habits, self.line)
        if client in self.schedule.push:
            habits = replace(habits, restless=True)  # the client's other program trains to other bytes
        return Program(client, name, habits, self.line)

    def run(self) -> None:
        """Play it. Raises BrokenError."""
        for program, gone in zip(self.programs, self.schedule.gone, strict=True):
            self.timeline.after(self.timeline.between(0.0, 30.0), program.start)
            if gone is not None:
                self.timeline.after(gone, partial(program.stop, gone=True))
        for at, seconds in self.schedule.jumps:
            self.timeline.after(at, partial(self._set_clock, seconds))
        for order in self.schedule.orders:
            self.timeline.after(order.at, partial(self._order, order))
        self.timeline.after(self.schedule.calm_at, self._calm_down)
        if not self.timeline.run(self._over, self.schedule.calm_at + PATIENCE):
            waits = {key: wait.reason for key, wait in self.process.waits.items()}
            raise BrokenError(f"no end after {PATIENCE:g} s without faults: {waits}, {self.watch.rows.trainings}")
        self.machine.calm_down()
        for key, plan in self.plans.items():
            check_end(self.watch.rows, key, plan, self.watch.lost)
            self._check_reason(key)
        self.service.check_end(self.timeline.now)
        ended = [(row.status, row.rounds_done) for row in self.watch.rows.trainings.values()]
        self.timeline.note(f"end: {ended}, {self._late()} late updates counted")

    def _calm_down(self) -> None:
        self.timeline.note("calm")
        self.is_calm, self.network.weather = True, CALM
        self.machine.calm_down()
        for program in self.programs:
            program.calm_down()
        for training in range(len(self.keys)):
            self._order(Order(0.0, training, "resume"))

    def _set_clock(self, seconds: float) -> None:
        self.timeline.note(f"the clock is set by {seconds:g} s")
        self.watch.tell_time(self.timeline.now)
        self.timeline.skew += seconds
        self.process.look_at_all()

    def _damage(self) -> None:
        digest = self.service.harm()
        self.timeline.note(f"the disk damages {digest[:8] or 'nothing'}")
        self.watch.lost.add(digest)

    def _order(self, order: Order) -> None:
        """The actor's request, repeated until the server answers."""
        what, key = f"actor: {order.what} {[*order.clients] or ''}", self.keys[order.training]
        answered: list[object] = []
        self._unanswered.discard(key)
        if order.what != "resume":
            self._resumed.discard(key)  # what the actor changes may be what it lacked
        call = partial(self.service.steer, key, order.what, order.clients)
        if self.process.up:
            self.process.attempt(what, partial(call, self.timeline.now), answered.append)
        if not answered and not (self.is_calm and order.what == "pause"):
            self._unanswered.add(key)
            self.timeline.after(5.0, partial(self._order, order))

    def _over(self) -> bool:
        rows = self.watch.rows.trainings.values()
        if all(row.status in FINAL_TRAINING_STATUSES for row in rows):
            return True
        return self.is_calm and not self._unanswered and all(self._has_ended(key) for key in self.keys)

    def _has_ended(self, key: Key) -> bool:
        row = self.watch.rows.trainings[key]
        if row.status is TrainingStatus.ERROR and key not in self._resumed:
            self._resumed.add(key)
            self.service.put_back()
            self._order(Order(0.0, self.keys.index(key), "resume"))
            return False
        if row.status is TrainingStatus.PAUSED and row.awaits_clients:
            wanted = plans.min_there(self.plans[key], round_number=row.rounds_done + 1)
            return len(self._left(key)) < wanted
        if row.status is TrainingStatus.ONGOING:
            wait = self.process.waits.get(key)
            return wait is not None and wait.until is None and len(self._left(key)) < self._needed(key)
        return row.status is not TrainingStatus.INITIAL and self.process.up

    def _late(self) -> int:
        return sum(update.folded_into is not None for update in self.watch.rows.updates.values())

    def _needed(self, key: Key) -> int:
        """How many reports a round wants at least; with fewer clients left it waits for those who are gone."""
        plan = self.plans[key]
        cohort = plans.cohort_size(plan, participants=len(self.service.participants(key)))
        return plans.min_reports(plan, cohort=cohort)

    def _left(self, key: Key) -> set[int]:
        """The clients that take part, and are still there."""
        return {program.client for program in self.programs if not program.gone} & self.service.participants(key)

    def _check_reason(self, key: Key) -> None:
        """A training that did not complete says why, and there is a cause."""
        row = self.watch.rows.trainings[key]
        all_there = len({program.client for program in self.programs if not program.gone}) == len(
            {program.client for program in self.programs}
        )
        if row.status is TrainingStatus.ERROR and all_there:
            try:
                plans.check_against(self.plans[key], participants=len(self.service.participants(key)))
            except plans.UnsoundPlanError:
                return
            if self.service.participants(key):
                raise BrokenError(f"all clients are there, and still: {row.reason}")


class ScheduleFailedError(AssertionError):
    """Says how to repeat it, and shows the end of its trace."""

    def __init__(self, error: BaseException, seed: int, world: str, trace: list[str]) -> None:
        self.trace = trace
        there = "python tests/support/postgres.py " if world == "services" and on_postgresql() else ""
        again = f"PYTHONPATH=tests {there}python -m simulation {world} --seed {seed} --trace"
        end = "\n".join(trace[-25:])
        super().__init__(f"{type(error).__name__}: {error}\n\nseed={seed}; to repeat it:\n    {again}\n\n{end}")


def play(seed: int, make: MakeService, *, world: str, sizes: Sizes) -> Timeline:
    """Play the schedule of a seed. Raises ScheduleFailedError."""
    game = Play(draw(seed, sizes), make)
    try:
        game.run()
    except Exception as error:  # whatever it is, it comes with its seed
        raise ScheduleFailedError(error, seed, world, game.timeline.trace) from error
    finally:
        game.machine.calm_down()
        game.process.end()
    return game.timeline
