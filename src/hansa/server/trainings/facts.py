"""From rows to the facts that `decide` looks at. Reads only."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

from django.db.models import CharField, Count, Exists, F, Min, OuterRef, Q, QuerySet, UUIDField, Window
from django.db.models.functions import RowNumber

from hansa.protocol.tasks import TaskKind
from hansa.rounds.facts import Facts, RoundFacts, TaskCounts
from hansa.rounds.plan import min_there
from hansa.rounds.states import LIVE_ROUND_STATES, RoundState, TaskState, TrainingStatus
from hansa.server.prepared import Rows, Slot
from hansa.server.trainings import attendance, telling
from hansa.server.trainings.attendance import Attendance
from hansa.server.trainings.models import Participation, Round, Task, Training

HANDOVER = timedelta(seconds=10)
"""How long a client that has reported a task may take to ask for its next: it must not be given up in between."""
LISTS: Final = ("selection", "accepted", "folded", "moments_accepted")
"""Columns of a round that are as long as its cohort."""
NAMED_GONE = 5
"""How many lost clients a reason names before it counts the rest."""


_LIVE_STATES: Final = tuple(sorted(state.value for state in LIVE_ROUND_STATES))
_LIVE = Rows(
    lambda: (
        Round.objects.filter(training=Slot("training", UUIDField()), state__in=_LIVE_STATES).defer(*LISTS).order_by()
    )
)


def load(training: Training, now: datetime) -> Facts:
    """The facts of a training as the database has them."""
    live = _LIVE(training=training.id)
    return _facts([training], Training.objects.filter(id=training.id), live, now)[training.id]


def load_all(trainings: Sequence[Training], of: QuerySet[Training], now: datetime) -> dict[UUID, Facts]:
    """The facts of many trainings, with as many queries as of one. `of` is the query that finds them."""
    return _facts(trainings, of, list(_live_of(of).defer(*LISTS).order_by()), now)


def _live_of(trainings: QuerySet[Training]) -> QuerySet[Round]:
    return Round.objects.filter(training__in=trainings.values("id"), state__in=_LIVE_STATES)


def _facts(
    trainings: Sequence[Training], of: QuerySet[Training], rounds: Sequence[Round], now: datetime
) -> dict[UUID, Facts]:
    """The facts of trainings whose live rounds are these."""
    live = {row.training_id: row for row in rounds}
    phases = _phases(rounds, partial(_live_of, of), now) if live else {}
    between = [training for training in trainings if training.id not in live]
    participants, latest = (_participants(of), _latest(of)) if between else ({}, {})
    there = _there(between, now)
    return {
        training.id: _within(training, phases[training.id])
        if training.id in phases
        else _between(training, participants.get(training.id, (0, 0)), latest.get(training.id, (0, "")), there)
        for training in trainings
    }


def _within(training: Training, phase: RoundFacts) -> Facts:
    """The facts of a training with a live round."""
    return Facts(
        status=TrainingStatus(training.status),
        plan=training.parsed_plan,
        rounds_done=training.rounds_done,
        participants=0,
        failures=training.failures,
        round=phase,
    )


def _between(
    training: Training, participants: tuple[int, int], latest: tuple[int, str], there: Mapping[UUID, Attendance]
) -> Facts:
    """The facts of a training without a live round."""
    selectable, excluded = participants
    attempt, reason = latest
    found = there.get(training.id, Attendance(0, None))
    return Facts(
        status=TrainingStatus(training.status),
        plan=training.parsed_plan,
        rounds_done=training.rounds_done,
        participants=selectable,
        excluded=excluded,
        there=found.there,
        more_there_at=found.more_at,
        awaits_clients=training.awaits_clients,
        failures=training.failures,
        last_failure=reason,
        next_attempt=attempt + 1,
    )


def _participants(of: QuerySet[Training]) -> dict[UUID, tuple[int, int]]:
    """Of each training how many may be selected, and how many are excluded."""
    joined = Participation.objects.filter(training__in=of.values("id"), active=True, client__is_active=True)
    counted = (
        joined.order_by()
        .values("training_id")
        .annotate(every=Count("id"), selectable=Count("id", filter=Q(excluded="")))
    )
    return {row["training_id"]: (row["selectable"], row["every"] - row["selectable"]) for row in counted}


def _there(between: Sequence[Training], now: datetime) -> dict[UUID, Attendance]:
    """Of trainings whose next round wants more than one client to be there: how many are."""
    asking = [
        training.id
        for training in between
        if min_there(training.parsed_plan, round_number=training.rounds_done + 1) > 1
    ]
    return attendance.there(asking, now) if asking else {}


def _latest(of: QuerySet[Training]) -> dict[UUID, tuple[int, str]]:
    """Of each training the newest attempt at the round after the last that is done, and how it ended."""
    attempts = Round.objects.filter(training__in=of.values("id"), number=F("training__rounds_done") + 1)
    rows = attempts.order_by("attempt").values_list("training_id", "attempt", "reason")
    return {training_id: (attempt, reason) for training_id, attempt, reason in rows}


OPEN_ROUND: Final = {
    TaskKind.TRAIN: RoundState.COLLECTING,
    TaskKind.SWAG: RoundState.SWAG,
    TaskKind.EVALUATE: RoundState.EVALUATING,
    TaskKind.CALIBRATE: RoundState.CALIBRATING,
}
"""In which state of its round a task of a kind may be worked on."""
WITH_FILE: Final = frozenset({TaskKind.TRAIN.value, TaskKind.SWAG.value})
"""Tasks whose result is a file: params, or moments."""


def phase_kind(state: RoundState) -> TaskKind:
    """The kind of task that counts in a state; where nobody is at work, that of those who trained."""
    return next((kind for kind, phase in OPEN_ROUND.items() if phase is state), TaskKind.TRAIN)


def phase_opened_at(live: Round) -> datetime:
    """When the clients of the present phase could first come."""
    match RoundState(live.state):
        case RoundState.SWAG:
            began = live.aggregated_at
        case RoundState.EVALUATING:
            began = live.combined_at or live.aggregated_at
        case RoundState.CALIBRATING:
            began = live.evaluated_at
        case _:
            began = None
    return began or live.opened_at


NONE: Final = TaskCounts()


@dataclass(frozen=True, slots=True)
class _Tasks:
    """How the tasks of a phase stand."""

    counts: TaskCounts = NONE
    next_expiry: datetime | None = None
    first_taken_at: datetime | None = None

    @property
    def gone(self) -> int:
        """Those whose clients are lost or have failed."""
        return self.counts.lost + self.counts.failed


def _phases(live: Sequence[Round], rounds: Callable[[], QuerySet[Round]], now: datetime) -> dict[UUID, RoundFacts]:
    """The facts of these rounds by their trainings; `rounds` is the query that finds them.

    Most looks need neither that query nor the one of their tasks: they are written only for those that do.
    """
    tasks = partial(_phase_tasks, live, rounds)
    standing = _standing_of_one(live[0]) if len(live) == 1 else _standing(_counted(tasks()))
    stands = [standing.get(row.id, _Tasks()) for row in live]
    untaken = [
        row.state == RoundState.COLLECTING.value and not of.counts.taken for row, of in zip(live, stands, strict=True)
    ]
    busy = _busy(tasks(), now) if any(of.counts.offered for of in stands) else {}
    waiting = _others_waiting(rounds(), now) if any(untaken) else {}
    untold = _untold(tasks()) if any(untaken) else {}
    being_told = _being_told(tasks()) if waiting else {}
    gone = _gone(tasks(), standing) if any(of.gone for of in stands) else {}
    return {
        row.training_id: RoundFacts(
            number=row.number,
            attempt=row.attempt,
            state=RoundState(row.state),
            opened_at=_later(phase_opened_at(row), row.clock_from),
            tasks=of.counts,
            wanted=row.wanted if row.state == RoundState.COLLECTING.value else None,
            first_taken_at=of.first_taken_at and _later(of.first_taken_at, row.clock_from),
            busy=busy.get(row.id, 0),
            being_told=being_told.get(row.id, 0) if nobody_came else 0,
            untold=untold.get(row.id, 0) if nobody_came else 0,
            others_waiting=waiting.get(row.training_id, 0) if nobody_came else 0,
            next_expiry=of.next_expiry,
            claimed_until=row.claimed_until,
            gone=gone.get(row.id, ""),
        )
        for row, of, nobody_came in zip(live, stands, untaken, strict=True)
    }


def _phase_tasks(live: Sequence[Round], rounds: Callable[[], QuerySet[Round]]) -> QuerySet[Task]:
    """The tasks of the kind that counts in the state of their round."""
    if len(live) == 1:
        kind = phase_kind(RoundState(live[0].state))
        return Task.objects.filter(round=live[0], kind=kind.value).order_by()
    states_by_kind = defaultdict(list)
    for state in LIVE_ROUND_STATES:
        states_by_kind[phase_kind(state)].append(state.value)
    in_phase = Q()
    for kind, states in states_by_kind.items():
        in_phase |= Q(kind=kind.value, round__state__in=states)
    return Task.objects.filter(in_phase, round__in=rounds().values("id")).order_by()


_COUNTED: Final = ("offered", "leased", "reported", "lost", "failed")


def _counted(tasks: QuerySet[Task]) -> QuerySet[Task, tuple[Any, ...]]:  # Any: a number or a moment
    """A row for each round: its id, the earliest end of a lease, the first lease, and how many tasks are where."""
    states = {name: Count("id", filter=Q(state=name)) for name in _COUNTED}
    absent = Count("id", filter=Q(state=TaskState.LOST.value, leased_at=None))
    expiry = Min("lease_until", filter=Q(state=TaskState.LEASED.value))
    by_round = tasks.values("round_id").annotate(expiry=expiry, first=Min("leased_at"), absent=absent, **states)
    return by_round.values_list("round_id", "expiry", "first", "absent", *_COUNTED)


_COUNTED_OF_ONE = Rows(
    lambda: _counted(
        Task.objects.filter(round=Slot("round", UUIDField()), kind=Slot("kind", CharField())).order_by(),
    )
)


def _standing_of_one(live: Round) -> dict[UUID, _Tasks]:
    """After every report one training is looked at: that is to be cheap."""
    return _standing(_COUNTED_OF_ONE(round=live.id, kind=phase_kind(RoundState(live.state)).value))


def _standing(rows: Iterable[tuple[Any, ...]]) -> dict[UUID, _Tasks]:  # Any: as above
    return {
        round_id: _Tasks(
            counts=TaskCounts(absent=absent, **dict(zip(_COUNTED, states, strict=True))),
            next_expiry=expiry,
            first_taken_at=first,
        )
        for round_id, expiry, first, absent, *states in rows
    }


def _busy(tasks: QuerySet[Task], now: datetime) -> dict[UUID, int]:
    return dict(busy_offers(tasks, now).values_list("round_id").annotate(Count("id")))


def _being_told(tasks: QuerySet[Task]) -> dict[UUID, int]:
    told = tasks.filter(Exists(telling.being_told()), state=TaskState.OFFERED.value)
    return dict(told.values_list("round_id").annotate(Count("id")))


def _untold(tasks: QuerySet[Task]) -> dict[UUID, int]:
    told = tasks.filter(state=TaskState.OFFERED.value, reason__startswith=telling.NOT_TOLD)
    return dict(told.values_list("round_id").annotate(Count("id")))


def busy_offers(tasks: QuerySet[Task], now: datetime) -> QuerySet[Task]:
    """Offers whose clients are at work on a task elsewhere, have just reported one, or are still being told.

    Their leases are looked at themselves: while a training is paused, nobody takes back those that have ended.
    """
    at_work = Q(state=TaskState.LEASED.value, lease_until__gt=now)
    reported = (TaskState.REPORTED.value, TaskState.CLOSED.value)  # in time, or late
    just_reported = Q(state__in=reported, reported_at__gt=now - HANDOVER)
    elsewhere = Task.objects.filter(at_work | just_reported, participation__client=OuterRef("participation__client"))
    return tasks.filter(Exists(elsewhere) | Exists(telling.being_told()), state=TaskState.OFFERED.value)


def _later(moment: datetime, other: datetime | None) -> datetime:
    return moment if other is None else max(moment, other)


def _others_waiting(rounds: QuerySet[Round], now: datetime) -> dict[UUID, int]:
    """Of each training how many participants are free for another cohort and have nothing to do in this round.

    They were not selected, or had left meanwhile and have joined again.
    """
    others = attendance.selectable().filter(training__in=rounds.values("training_id"))
    own = Task.objects.filter(round__in=rounds.values("id"), participation=OuterRef("pk"))
    idle = others.exclude(Exists(own.exclude(state=TaskState.CLOSED.value)))
    return Counter(each.training_id for each in attendance.standings(idle, now) if each.free)


_HOW = {TaskState.LOST.value: "was lost", TaskState.FAILED.value: "failed"}


def _gone(tasks: QuerySet[Task], standing: Mapping[UUID, _Tasks]) -> dict[UUID, str]:
    """Who is gone, without the clients' own words: all participants read it, and those words may tell of their data."""
    place = Window(RowNumber(), partition_by="round_id", order_by="participation__ordinal")
    lost = tasks.filter(state__in=_HOW).annotate(place=place).filter(place__lte=NAMED_GONE)
    named = defaultdict(list)
    for of, username, state in lost.order_by("place").values_list(
        "round_id", "participation__client__username", "state"
    ):
        named[of].append(f"{username} {_HOW[state]}")
    return {of: _listed(names, standing[of].gone - NAMED_GONE) for of, names in named.items() if of in standing}


def _listed(names: Sequence[str], more: int) -> str:
    listed = ", ".join(names)
    return f"{listed}, and {more} more" if more > 0 else listed
