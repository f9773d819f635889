"""Carrying out what `decide` says: facts, decision and change in one transaction, guarded by the state it left.

`advance` may run twice, late, or from two places at once: it reads the rows anew, and a row that has moved meanwhile
is not moved again.
"""

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import F, QuerySet, UUIDField

from hansa.crashpoints import crash_point
from hansa.protocol.events import EventKind
from hansa.rounds.decide import decide
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
from hansa.rounds.states import LIVE_ROUND_STATES, RoundState, TaskState, TrainingStatus
from hansa.server import measures
from hansa.server.accounts import presence
from hansa.server.changes import change
from hansa.server.lifecycle.context import note
from hansa.server.prepared import Rows, Slot
from hansa.server.trainings import facts
from hansa.server.trainings.hints import HINTS
from hansa.server.trainings.models import Participation, Round, Task, Training
from hansa.server.trainings.services import calibrating, eventlog, memory, push
from hansa.server.trainings.services.aggregation import COMPUTING
from hansa.server.trainings.services.closing import (
    close_round,
    close_swag,
    close_tasks,
    finish_round,
    go_without_moments,
    live_round,
    relay_round,
    release_updates,
)
from hansa.server.trainings.services.folding import unfold
from hansa.server.trainings.services.opening import open_calibration, open_phase, open_round
from hansa.server.trainings.services.turns import take_turn_at

_TRAINING = Rows(lambda: Training.objects.filter(id=Slot("training", UUIDField())).order_by())


def look(*, training_id: UUID, now: datetime) -> Decision:
    """What would be done next; changes nothing. A training that is gone waits for ever."""
    training = _TRAINING.first(training=training_id)
    return Wait("the training is gone") if training is None else decide(facts.load(training, now), now)


def advance(*, training_id: UUID, now: datetime) -> Decision:
    """Decide and do. Returns the decision; `Aggregate` and `Combine` are left to the caller, who has the files."""
    with transaction.atomic():
        take_turn_at(training_id)
        training = _TRAINING.first(training=training_id)
        if training is None:
            return Wait("the training is gone")
        seen = facts.load(training, now)
        decision = decide(seen, now)
        note(round=decision.number if isinstance(decision, OpenRound) else seen.round and seen.round.number)
        _carry_out(decision, training, now)
        if isinstance(decision, Wait | Aggregate | Combine):
            return decision
        push.keep_up(training, now)
        transaction.on_commit(lambda: HINTS.moved(training_id))
        crash_point(f"rounds.{type(decision).__name__}.written")
    crash_point(f"rounds.{type(decision).__name__}.committed")
    return decision


def _carry_out(decision: Decision, training: Training, now: datetime) -> None:  # noqa: PLR0912  # a table
    match decision:
        case OpenRound():
            open_round(decision, training, now)
        case ExpireLeases():
            _expire_leases(decision.reason, training, now)
        case DropOffers():
            _drop_offers(decision.reason, training, now)
        case CloseRound():
            close_round(decision, training, now)
        case RelayRound():
            relay_round(decision, training, now)
        case OpenSwag():
            open_phase(RoundState.SWAG, decision.reason, training)
        case CloseSwag():
            close_swag(decision, training)
        case SkipMoments():
            go_without_moments(decision.reason, training, now)
        case OpenEvaluation():
            open_phase(RoundState.EVALUATING, decision.reason, training)
        case OpenCalibration():
            open_calibration(decision.reason, training, now)
        case FinishRound():
            finish_round(decision.reason, training, now)
        case AbandonRound():
            if not decision.failure:  # nobody came: those are not drawn again at once
                mark_absent(_not_come_for(training, now), now)
            abandon(training_id=training.id, reason=decision.reason, now=now, failure=decision.failure)
        case Pause():
            _pause(training, decision.reason)
        case GoOn():
            _go_on(training)
        case Complete():
            _end(training, TrainingStatus.COMPLETED, decision.reason, now)
            memory.let_go(training.model_id)
            push.finished(training, now)
        case Fail():
            _end(training, TrainingStatus.ERROR, decision.reason, now)
        case Wait() | Aggregate() | Combine():
            pass


def _expire_leases(reason: str, training: Training, now: datetime) -> None:
    expired = _tasks(training, TaskState.LEASED).filter(lease_until__lte=now)
    mark_absent(expired, now)
    eventlog.note_tasks(EventKind.TASK_LOST, expired, reason=reason)
    lost = expired.update(state=TaskState.LOST.value, reason=reason, lease_until=None)
    measures.once_committed(measures.LEASES_LOST, lost)


def _drop_offers(reason: str, training: Training, now: datetime) -> None:
    not_come_for = _not_come_for(training, now)
    mark_absent(not_come_for, now)
    eventlog.note_tasks(EventKind.TASK_LOST, not_come_for, reason=reason)
    not_come_for.update(state=TaskState.LOST.value, reason=reason)


def _not_come_for(training: Training, now: datetime) -> QuerySet[Task]:
    """Offers whose clients could have come."""
    offers = _tasks(training, TaskState.OFFERED)
    return offers.exclude(id__in=facts.busy_offers(offers, now).values("id"))


def _pause(training: Training, reason: str) -> None:
    ongoing = Training.objects.filter(id=training.id, status=TrainingStatus.ONGOING.value)
    if ongoing.update(status=TrainingStatus.PAUSED.value, awaits_clients=True, reason=reason):
        eventlog.note(EventKind.TRAINING_PAUSED, training=training.id, reason=reason)


def _go_on(training: Training) -> None:
    """Of a pause by a person the row says nothing here, and it stays."""
    waiting = Training.objects.filter(id=training.id, status=TrainingStatus.PAUSED.value, awaits_clients=True)
    if waiting.update(status=TrainingStatus.ONGOING.value, awaits_clients=False, reason=""):
        eventlog.note(EventKind.TRAINING_GOES_ON, training=training.id)


def abandon(*, training_id: UUID, reason: str, now: datetime, failure: bool = True) -> bool:
    """COLLECTING | AGGREGATING → ABANDONED; the next decision opens a new attempt, or stops with the reason."""
    with change("rounds.abandon"):
        take_turn_at(training_id)
        training = Training.objects.get(id=training_id)
        given_up = live_round(training, RoundState.ABANDONED).first()
        if given_up is None:
            return False
        live_round(training, RoundState.ABANDONED).update(
            state=RoundState.ABANDONED.value, done_at=now, reason=reason, claim=None, claimed_until=None
        )
        unfold(given_up)
        eventlog.note_round(EventKind.ROUND_ABANDONED, given_up, reason=reason)
        close_tasks(given_up, f"this attempt at round {given_up.number} was abandoned")
        measures.once_committed(measures.ROUNDS_ENDED.labels("abandoned"))
        if failure:
            Training.objects.filter(id=training_id).update(failures=F("failures") + 1)
        release_updates(training=training, rounds_done=training.rounds_done)
        transaction.on_commit(lambda: HINTS.moved(training_id))
    return True


def give_up(*, training_id: UUID, claim: UUID, reason: str, now: datetime) -> bool:
    """What a closed round was to become cannot be computed: a new attempt at it, or a version without moments.

    Of the round that is held under this claim, and of no other: what was computed may be of one that meanwhile collects
    again, or of an attempt that has come to nothing. False if there is none.
    """
    with change("rounds.give_up"):
        take_turn_at(training_id)
        held = Round.objects.filter(training_id=training_id, claim=claim, state__in=COMPUTING)
        row = held.select_related("training").first()
        if row is None:
            return False
        if row.state == RoundState.AGGREGATING.value:
            return abandon(training_id=training_id, reason=reason, now=now)
        go_without_moments(reason, row.training, now)
        transaction.on_commit(lambda: HINTS.moved(training_id))
    return True


def end_live_round(*, training_id: UUID, reason: str, now: datetime) -> None:
    """The training ends before its round does: a round that has its version is DONE, one that has none ABANDONED."""
    training = Training.objects.get(id=training_id)
    live = Round.objects.filter(training=training, state__in=[state.value for state in LIVE_ROUND_STATES]).first()
    if live is not None:
        has_version = live.version_id is not None
        calibrating.settle(live, training)
        state = RoundState.DONE if has_version else RoundState.ABANDONED
        Round.objects.filter(id=live.id).update(
            state=state.value, done_at=now, reason=reason, claim=None, claimed_until=None
        )
        close_tasks(live, reason)
        ended = EventKind.ROUND_DONE if has_version else EventKind.ROUND_ABANDONED
        eventlog.note_round(ended, live, reason=reason)
        measures.once_committed(measures.ROUNDS_ENDED.labels("done" if has_version else "abandoned"))
        if has_version:
            training.rounds_done = live.number
            training.save(update_fields=["rounds_done"])
        else:
            unfold(live)
    memory.let_go(training.model_id)
    release_updates(training=training, rounds_done=training.rounds_done)


def mark_absent(tasks: QuerySet[Task], now: datetime) -> None:
    """Their clients are gone until they come for a task again."""
    gone = dict(tasks.values_list("participation_id", "participation__client_id"))
    Participation.objects.filter(id__in=gone).update(absent=True, absent_since=now)
    transaction.on_commit(lambda: presence.lost(gone.values()))


def restart_clocks(rounds: QuerySet[Round], now: datetime) -> None:
    """Clients could not come while the server was away or the training paused: their time begins anew."""
    rounds.filter(state__in=[state.value for state in LIVE_ROUND_STATES]).update(clock_from=now)


def _end(training: Training, status: TrainingStatus, reason: str, now: datetime) -> None:
    ongoing = Training.objects.filter(id=training.id, status=TrainingStatus.ONGOING.value)
    ended = EventKind.TRAINING_COMPLETED if status is TrainingStatus.COMPLETED else EventKind.TRAINING_FAILED
    if ongoing.update(status=status.value, reason=reason, finished_at=now):
        eventlog.note(ended, training=training.id, reason=reason)


def _tasks(training: Training, state: TaskState) -> QuerySet[Task]:
    live = Round.objects.filter(training=training, state__in=[state.value for state in LIVE_ROUND_STATES])
    return Task.objects.filter(round__in=live, state=state.value)
