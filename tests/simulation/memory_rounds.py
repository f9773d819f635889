"""The round in the model: what `decide` looks at, and how the rows change by what it answers."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from hansa.core import sampling
from hansa.protocol.tasks import TaskKind
from hansa.rounds import plan as plans
from hansa.rounds.decisions import (
    AbandonRound,
    CloseRound,
    CloseSwag,
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
)
from hansa.rounds.facts import Facts, RoundFacts, TaskCounts
from hansa.rounds.states import RoundState, TaskState, TrainingStatus
from simulation.invariants import PHASE
from simulation.memory_late import fold
from simulation.rows import Key, RoundRow
from simulation.tables import Member, Tables

HANDOVER = timedelta(seconds=10)
MOMENT = timedelta(seconds=90)


def facts(of: Tables, training: Key, now: datetime) -> Facts:
    """All that `decide` looks at."""
    row, learning, live = of.store.trainings[training], of.learnings[training], of.live(training)
    attempts = [
        (each.attempt, of.phases[key].reason)
        for key, each in of.store.rounds.items()
        if each.training == training and each.number == row.rounds_done + 1
    ]
    latest, why = max(attempts, default=(0, ""))
    return Facts(
        status=row.status,
        plan=learning.plan,
        rounds_done=row.rounds_done,
        participants=sum(member.selectable for member in learning.members) if live is None else 0,
        excluded=sum(member.active and member.excluded for member in learning.members) if live is None else 0,
        there=_there(of, training, now) if live is None else 0,
        awaits_clients=row.awaits_clients if live is None else False,
        failures=learning.failures,
        last_failure=why if live is None else "",
        next_attempt=latest + 1 if live is None else 1,
        round=None if live is None else _round_facts(of, live, now),
    )


def _there(of: Tables, training: Key, now: datetime) -> int:
    """Of those who may be selected, who asks, works or has just worked."""
    members = of.learnings[training].members
    return sum(member.selectable and _is_there(of, member, now) for member in members)


def _is_there(of: Tables, member: Member, now: datetime) -> bool:
    return (
        _asks(of, member, now)
        or _works(of, member, now)
        or any(
            not member.absent
            and work.client == member.client
            and work.reported_at is not None
            and work.reported_at > now - MOMENT
            for key, work in of.works.items()
            if of.store.tasks[key].state is TaskState.REPORTED
        )
    )


def _is_free(of: Tables, member: Member, now: datetime) -> bool:
    return _asks(of, member, now) and not _works(of, member, now)


def _is_expected(of: Tables, member: Member, now: datetime) -> bool:
    return _is_free(of, member, now) or not (member.absent or _works(of, member, now))


def _asks(of: Tables, member: Member, now: datetime) -> bool:
    return member.client in of.seen and of.seen[member.client] > now - MOMENT


def _works(of: Tables, member: Member, now: datetime) -> bool:
    leases = (of.store.tasks[key].lease_until for key, work in of.works.items() if work.client == member.client)
    return any(until is not None and until > now for until in leases)


def _round_facts(of: Tables, key: Key, now: datetime) -> RoundFacts:
    row, phase, tasks = of.store.rounds[key], of.phases[key], _phase_tasks(of, key)
    states = [of.store.tasks[each].state for each in tasks]
    taken = [moment for each in tasks if (moment := of.works[each].leased_at) is not None]
    leases = [until for each in tasks if (until := of.store.tasks[each].lease_until) is not None]
    counts = TaskCounts(
        **{state: states.count(TaskState(state)) for state in ("offered", "leased", "reported", "lost", "failed")},
        absent=sum(of.store.tasks[each].state is TaskState.LOST and of.works[each].leased_at is None for each in tasks),
    )
    nobody_came = row.state is RoundState.COLLECTING and not counts.taken
    return RoundFacts(
        number=row.number,
        attempt=row.attempt,
        state=row.state,
        opened_at=_later(phase.began_at, phase.clock_from),
        tasks=counts,
        wanted=row.wanted,
        first_taken_at=_later(min(taken), phase.clock_from) if taken else None,
        busy=sum(_is_busy(of, each, now) for each in tasks),
        others_waiting=_others_waiting(of, key, now) if nobody_came else 0,
        next_expiry=min(leases, default=None),
        claimed_until=phase.claimed_until,
    )


def _phase_tasks(of: Tables, key: Key) -> list[Key]:
    state = of.store.rounds[key].state
    kind = next((kind for kind, phase in PHASE.items() if phase is state), TaskKind.TRAIN)
    return [each for each, task in of.store.tasks.items() if task.round == key and task.kind is kind]


def _is_busy(of: Tables, task: Key, now: datetime) -> bool:
    """Whether it is on offer to a client that is at work on another, or has just reported one."""
    if of.store.tasks[task].state is not TaskState.OFFERED:
        return False
    for key, work in of.works.items():
        if work.client == of.works[task].client:
            until, reported = of.store.tasks[key].lease_until, work.reported_at
            if (until is not None and until > now) or (reported is not None and reported > now - HANDOVER):
                return True
    return False


def _others_waiting(of: Tables, key: Key, now: datetime) -> int:
    row = of.store.rounds[key]
    cohort = {
        task.ordinal for task in of.store.tasks.values() if task.round == key and task.state is not TaskState.CLOSED
    }
    members = enumerate(of.learnings[row.training].members)
    others = [member for ordinal, member in members if member.selectable and ordinal not in cohort]
    return sum(_is_free(of, member, now) for member in others)


def _later(moment: datetime, other: datetime | None) -> datetime:
    return moment if other is None else max(moment, other)


def carry_out(of: Tables, training: Key, decision: Decision, now: datetime) -> None:  # noqa: PLR0912  # a table
    """Change the rows as decided."""
    key = of.live(training)
    if isinstance(decision, Pause):
        of.set_training(training, status=TrainingStatus.PAUSED, awaits_clients=True, reason=decision.reason)
    elif isinstance(decision, GoOn):
        of.set_training(training, status=TrainingStatus.ONGOING, awaits_clients=False, reason="")
    elif isinstance(decision, OpenRound):
        _open_round(of, training, decision, now)
    elif isinstance(decision, Complete | Fail):
        status = TrainingStatus.COMPLETED if isinstance(decision, Complete) else TrainingStatus.ERROR
        of.set_training(training, status=status, reason=decision.reason)
    elif key is not None:
        match decision:
            case ExpireLeases():
                expired = [each for each in _phase_tasks(of, key) if _expired(of, each, now)]
                _lose(of, expired)
            case DropOffers():
                _lose(of, _not_come_for(of, key, now))
            case CloseRound():
                accepted, folded = of.accepted(key, TaskKind.TRAIN), fold(of, key)
                of.set_round(key, state=RoundState.AGGREGATING, accepted=accepted, folded=folded)
                of.close_tasks(key)
            case RelayRound():
                accepted = of.accepted(key, TaskKind.TRAIN)
                of.set_round(key, accepted=accepted)
                _done(of, key)
            case OpenSwag():
                _ask_reporters(of, key, TaskKind.SWAG)
            case CloseSwag():
                of.set_round(key, state=RoundState.COMBINING, moments=of.accepted(key, TaskKind.SWAG))
                of.close_tasks(key)
            case SkipMoments():
                of.close_tasks(key)
                of.set_round(key, state=RoundState.COMBINED)
                of.phases[key].began_at = now
            case OpenEvaluation():
                _ask_reporters(of, key, TaskKind.EVALUATE)
            case OpenCalibration():
                of.close_tasks(key)
                _ask_reporters(of, key, TaskKind.CALIBRATE)
                of.phases[key].began_at = now
            case FinishRound():
                _done(of, key)
            case AbandonRound():
                if not decision.failure:
                    for each in _not_come_for(of, key, now):
                        of.lose(each)
                of.abandon(key, decision.reason, failure=decision.failure)


def _open_round(of: Tables, training: Key, decision: OpenRound, now: datetime) -> None:
    learning = of.learnings[training]
    base = of.base_of(training)
    everybody = [ordinal for ordinal, member in enumerate(learning.members) if member.selectable]
    candidates = _candidates(of, training, decision, everybody, now)
    draw = _draw(of, training, decision, candidates, plans.invitations(learning.plan, participants=len(everybody)))
    cohort = sampling.choose(draw)
    target = min(plans.cohort_size(learning.plan, participants=len(everybody)), len(candidates))
    wanted = target if len(cohort) > target else None
    row = RoundRow(training, decision.number, decision.attempt, RoundState.COLLECTING, wanted=wanted, base=base)
    key = of.add_round(row, now)
    of.phases[key].selection = sampling.record(draw, cohort)
    present = sum(not learning.members[ordinal].absent for ordinal in cohort)
    enough = present >= plans.min_reports(learning.plan, cohort=target)
    for ordinal in cohort:
        invited = learning.members[ordinal].absent and enough
        of.add_task(key, ordinal, TaskKind.TRAIN, TaskState.LOST if invited else TaskState.OFFERED)


def _candidates(of: Tables, training: Key, decision: OpenRound, everybody: list[int], now: datetime) -> list[int]:
    """Those who can be counted on, where not all are asked and enough of them are left."""
    plan, members, candidates = of.learnings[training].plan, of.learnings[training].members, everybody
    if plans.invitations(plan, participants=len(everybody)) == len(everybody):
        return everybody
    rules = [
        *([_is_there] if plans.min_there(plan, round_number=decision.number) > 1 else []),
        *([_is_expected] if decision.attempt > 1 else []),
    ]
    for rule in rules:
        left = [ordinal for ordinal in candidates if rule(of, members[ordinal], now)]
        target = min(plans.cohort_size(plan, participants=len(everybody)), len(left))
        if len(left) >= plans.min_reports(plan, cohort=target):
            candidates = left
    return candidates


def _draw(of: Tables, training: Key, decision: OpenRound, candidates: list[int], invited: int) -> sampling.Draw:
    learning = of.learnings[training]
    rule = learning.plan.cohort.selection
    known = [learning.members[ordinal].num_examples for ordinal in candidates]
    return sampling.Draw(
        rule=rule,
        size=min(invited, len(candidates)),
        candidates=tuple(candidates),
        weights=sampling.filled(known) if rule == "by_examples" else (),
        cursor=_cursor(of, training) if rule == "round_robin" else None,
        seed=learning.seed,
        round=decision.number,
        attempt=decision.attempt,
    )


def _cursor(of: Tables, training: Key) -> int | None:
    """Whom the newest attempt has selected last."""
    attempts = [(row.number, row.attempt, key) for key, row in of.store.rounds.items() if row.training == training]
    selection = of.phases[max(attempts)[2]].selection if attempts else None
    return None if selection is None else sampling.last_selected(selection)


def _ask_reporters(of: Tables, key: Key, kind: TaskKind) -> None:
    members = of.learnings[of.store.rounds[key].training].members
    trained = [task for task in of.store.tasks.values() if task.round == key and task.kind is TaskKind.TRAIN]
    of.set_round(key, state=PHASE[kind])
    for task in trained:
        if task.state is TaskState.REPORTED and members[task.ordinal].active:
            of.add_task(key, task.ordinal, kind, TaskState.OFFERED)


def _done(of: Tables, key: Key) -> None:
    row = of.store.rounds[key]
    of.finish(key, RoundState.DONE)
    of.learnings[row.training].failures = 0
    of.set_training(row.training, rounds_done=row.number)


def _not_come_for(of: Tables, key: Key, now: datetime) -> list[Key]:
    offers = [each for each in _phase_tasks(of, key) if of.store.tasks[each].state is TaskState.OFFERED]
    return [each for each in offers if not _is_busy(of, each, now)]


def _expired(of: Tables, task: Key, now: datetime) -> bool:
    row = of.store.tasks[task]
    return row.state is TaskState.LEASED and row.lease_until is not None and row.lease_until <= now


def _lose(of: Tables, tasks: Sequence[Key]) -> None:
    for task in tasks:
        of.set_task(task, state=TaskState.LOST, lease_until=None)
        of.lose(task)
