"""Carrying out what `decide` says: facts, decision and change in one transaction, guarded by the state it left.

`advance` may run twice, late, or from two places at once: it reads the rows anew, and a row that has moved meanwhile
is not moved again.
"""

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet

from hansa.core.sampling import select
from hansa.core.seeds import selection_rng
from hansa.crashpoints import crash_point
from hansa.protocol.tasks import TaskKind
from hansa.rounds import plan as plans
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
    OpenEvaluation,
    OpenRound,
    OpenSwag,
    RelayRound,
    SkipMoments,
    Wait,
)
from hansa.rounds.states import LIVE_ROUND_STATES, ROUND_MOVES, RoundState, TaskState, TrainingStatus, sources
from hansa.server.changes import change
from hansa.server.registry.models import ModelVersion
from hansa.server.trainings import facts
from hansa.server.trainings.hints import HINTS
from hansa.server.trainings.models import Participation, Round, Task, Training, Update
from hansa.server.trainings.services import push, relays
from hansa.server.trainings.services.turns import take_turn_at


def look(*, training_id: UUID, now: datetime) -> Decision:
    """What would be done next; changes nothing. A training that is gone waits for ever."""
    training = Training.objects.filter(id=training_id).first()
    return Wait("the training is gone") if training is None else decide(facts.load(training, now), now)


def advance(*, training_id: UUID, now: datetime) -> Decision:
    """Decide and do. Returns the decision; `Aggregate` and `Combine` are left to the caller, who has the files."""
    with transaction.atomic():
        take_turn_at(training_id)
        training = Training.objects.filter(id=training_id).first()
        if training is None:
            return Wait("the training is gone")
        decision = decide(facts.load(training, now), now)
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
            _open_round(decision, training, now)
        case ExpireLeases():
            expired = _tasks(training, TaskState.LEASED).filter(lease_until__lte=now)
            mark_absent(expired)
            expired.update(state=TaskState.LOST.value, reason=decision.reason, lease_until=None)
        case DropOffers():
            offers = _tasks(training, TaskState.OFFERED)
            absent = offers.exclude(id__in=facts.busy_offers(offers, now).values("id"))
            mark_absent(absent)
            absent.update(state=TaskState.LOST.value, reason=decision.reason)
        case CloseRound():
            _close_round(decision, training, now)
        case RelayRound():
            _relay_round(decision, training, now)
        case OpenSwag():
            _open_phase(RoundState.SWAG, decision.reason, training)
        case CloseSwag():
            _close_swag(decision, training)
        case SkipMoments():
            _go_without_moments(decision.reason, training, now)
        case OpenEvaluation():
            _open_phase(RoundState.EVALUATING, decision.reason, training)
        case FinishRound():
            _finish_round(decision.reason, training, now)
        case AbandonRound():
            abandon(training_id=training.id, reason=decision.reason, now=now, failure=decision.failure)
        case Complete():
            _end(training, TrainingStatus.COMPLETED, decision.reason, now)
            push.finished(training, now)
        case Fail():
            _end(training, TrainingStatus.ERROR, decision.reason, now)
        case Wait() | Aggregate() | Combine():
            pass


def _open_round(decision: OpenRound, training: Training, now: datetime) -> None:
    """Select the cohort and offer its clients a TRAIN task each, all in canonical order."""
    base = ModelVersion.objects.filter(model_id=training.model_id).order_by("-number")[0]
    opened = Round.objects.create(
        training=training,
        number=decision.number,
        attempt=decision.attempt,
        base=base,
        reason=decision.reason,
        opened_at=now,
    )
    active = {row.ordinal: row for row in training.participations.filter(active=True)}
    size = plans.cohort_size(training.parsed_plan, participants=len(active))
    rng = selection_rng(training.seed, decision.number, decision.attempt)
    cohort = [active[ordinal] for ordinal in select(sorted(active), size, rng)]
    present = sum(not row.absent for row in cohort)
    enough = present >= plans.min_reports(training.parsed_plan, cohort=len(cohort))
    invited = frozenset(row.ordinal for row in cohort if row.absent and enough)
    required = [row.ordinal for row in cohort if row.ordinal not in invited]
    sources = relays.sources(training=training, number=decision.number, required=required, others=sorted(invited))
    offers = [
        _offer(opened, row, source=sources.get(row.ordinal), required=row.ordinal not in invited) for row in cohort
    ]
    Task.objects.bulk_create(offers, batch_size=500)
    clients = [row.client_id for row in cohort]
    transaction.on_commit(lambda: HINTS.tasks_offered(clients))


def _offer(opened: Round, row: Participation, *, source: Update | None, required: bool) -> Task:
    """A task for a client; not required: it may come for it while the round is open, and nobody waits."""
    task = Task(round=opened, participation=row, kind=TaskKind.TRAIN.value, source=source)
    if not required:
        task.state, task.reason = TaskState.LOST.value, "not seen since it was lost in an earlier round"
    return task


def _close_round(decision: CloseRound, training: Training, now: datetime) -> None:
    """COLLECTING → AGGREGATING with the accepted list: from here on the version is determined."""
    closing = _live(training, RoundState.AGGREGATING).get()
    _live(training, RoundState.AGGREGATING).update(
        state=RoundState.AGGREGATING.value,
        accepted=_accepted(closing, TaskKind.TRAIN, training),
        closed_at=now,
        reason=decision.reason,
    )
    _close_tasks(closing, f"round {closing.number} closed without it: {decision.reason}")


def _relay_round(decision: RelayRound, training: Training, now: datetime) -> None:
    """COLLECTING → DONE with the accepted list, whose local models the next round's clients go on from."""
    closing = _live(training, RoundState.AGGREGATING).get()
    accepted = _accepted(closing, TaskKind.TRAIN, training)
    _finish_round(f"{decision.reason}; their models travel on", training, now, accepted=accepted, closed_at=now)


def _accepted(closing: Round, kind: TaskKind, training: Training) -> list[list[object]]:
    """The accepted list: ordinal, digest and weight of every update of a kind, in canonical order."""
    by_examples = training.parsed_plan.aggregator.weighting == "examples"
    updates = Update.objects.filter(task__round=closing, task__kind=kind.value)
    rows = updates.order_by("task__participation__ordinal")
    listed = rows.values_list("task__participation__ordinal", "digest", "num_examples")
    return [[ordinal, digest, examples if by_examples else 1] for ordinal, digest, examples in listed]


def _open_phase(phase: RoundState, reason: str, training: Training) -> None:
    """To SWAG or EVALUATING: those who reported are asked for something around the version."""
    opened = _live(training, phase).get()
    reporters = Task.objects.filter(
        round=opened,
        kind=TaskKind.TRAIN.value,
        state=TaskState.REPORTED.value,
        participation__active=True,
    )
    rows = list(reporters.values_list("participation_id", "participation__client_id"))
    kind = facts.phase_kind(phase).value
    Task.objects.bulk_create([Task(round=opened, participation_id=row, kind=kind) for row, _ in rows], batch_size=500)
    _live(training, phase).update(state=phase.value, reason=reason)
    transaction.on_commit(lambda: HINTS.tasks_offered([client for _, client in rows]))


def _close_swag(decision: CloseSwag, training: Training) -> None:
    """SWAG → COMBINING with the accepted list: from here on the version's moments are determined."""
    closing = _live(training, RoundState.COMBINING).get()
    _live(training, RoundState.COMBINING).update(
        state=RoundState.COMBINING.value,
        moments_accepted=_accepted(closing, TaskKind.SWAG, training),
        reason=decision.reason,
    )
    _close_tasks(closing, f"round {closing.number} went on without it: {decision.reason}")


def _go_without_moments(reason: str, training: Training, now: datetime) -> None:
    """SWAG | COMBINING → COMBINED, and the version has no moments. Answers are less sure of their uncertainty; the
    training loses nothing else.
    """
    waived = _live(training, RoundState.COMBINED).get()
    _live(training, RoundState.COMBINED).update(
        state=RoundState.COMBINED.value,
        reason=reason,
        moments_reason=reason,
        combined_at=now,
        claim=None,
        claimed_until=None,
    )
    _close_tasks(waived, f"round {waived.number} goes on without moments")


def _finish_round(reason: str, training: Training, now: datetime, **closed: object) -> None:
    """The round is DONE; the updates that nobody needs any more are let go. `closed`: what else is noted of it."""
    finished = _live(training, RoundState.DONE).get()
    if finished.moments_reason:
        reason = f"{reason}; the version has no moments: {finished.moments_reason}"
    _live(training, RoundState.DONE).update(state=RoundState.DONE.value, done_at=now, reason=reason, **closed)
    _close_tasks(finished, f"round {finished.number} is done")
    Training.objects.filter(id=training.id).update(rounds_done=finished.number, failures=0)
    release_updates(training=training, rounds_done=finished.number)


def release_updates(*, training: Training, rounds_done: int) -> None:
    """Drop references to update blobs that neither the plan nor the next round needs; collection deletes the files."""
    past = Q(round__number__lte=rounds_done - training.parsed_plan.keep_updates)
    came_to_nothing = Q(round__state=RoundState.ABANDONED.value)
    old = Task.objects.filter(past | came_to_nothing, round__training=training, uploaded__isnull=False)
    old = old.exclude(relays.travelling(training, rounds_done))
    Update.objects.filter(task__in=old.values("id")).update(blob=None)
    old.update(uploaded=None)


def abandon(*, training_id: UUID, reason: str, now: datetime, failure: bool = True) -> bool:
    """COLLECTING | AGGREGATING → ABANDONED; the next decision opens a new attempt, or stops with the reason."""
    with change("rounds.abandon"):
        take_turn_at(training_id)
        training = Training.objects.get(id=training_id)
        given_up = _live(training, RoundState.ABANDONED).first()
        if given_up is None:
            return False
        _live(training, RoundState.ABANDONED).update(
            state=RoundState.ABANDONED.value, done_at=now, reason=reason, claim=None, claimed_until=None
        )
        _close_tasks(given_up, f"this attempt at round {given_up.number} was abandoned")
        if failure:
            Training.objects.filter(id=training_id).update(failures=F("failures") + 1)
        release_updates(training=training, rounds_done=training.rounds_done)
        transaction.on_commit(lambda: HINTS.moved(training_id))
    return True


def give_up(*, training_id: UUID, reason: str, now: datetime) -> bool:
    """What a closed round was to become cannot be computed: a new attempt at it, or a version without moments.

    False if there is no such round any more, or no such training.
    """
    with change("rounds.give_up"):
        take_turn_at(training_id)
        training = Training.objects.filter(id=training_id).first()
        if training is None:
            return False
        if not training.rounds.filter(state=RoundState.COMBINING.value).exists():
            return abandon(training_id=training_id, reason=reason, now=now)
        _go_without_moments(reason, training, now)
        transaction.on_commit(lambda: HINTS.moved(training_id))
    return True


def end_live_round(*, training_id: UUID, reason: str, now: datetime) -> None:
    """The training ends before its round does: a round that has its version is DONE, one that has none ABANDONED."""
    training = Training.objects.get(id=training_id)
    live = Round.objects.filter(training=training, state__in=[state.value for state in LIVE_ROUND_STATES]).first()
    if live is not None:
        has_version = live.version_id is not None
        state = RoundState.DONE if has_version else RoundState.ABANDONED
        Round.objects.filter(id=live.id).update(
            state=state.value, done_at=now, reason=reason, claim=None, claimed_until=None
        )
        _close_tasks(live, reason)
        if has_version:
            training.rounds_done = live.number
            training.save(update_fields=["rounds_done"])
    release_updates(training=training, rounds_done=training.rounds_done)


def mark_absent(tasks: QuerySet[Task]) -> None:
    """Their clients are gone until they come for a task again."""
    Participation.objects.filter(id__in=tasks.values("participation_id")).update(absent=True)


def restart_clocks(rounds: QuerySet[Round], now: datetime) -> None:
    """Clients could not come while the server was away or the training paused: their time begins anew."""
    rounds.filter(state__in=[state.value for state in LIVE_ROUND_STATES]).update(clock_from=now)


def _end(training: Training, status: TrainingStatus, reason: str, now: datetime) -> None:
    ongoing = Training.objects.filter(id=training.id, status=TrainingStatus.ONGOING.value)
    ongoing.update(status=status.value, reason=reason, finished_at=now)


def _live(training: Training, target: RoundState) -> QuerySet[Round]:
    """The training's live round, if it is in a state from which `target` may be reached."""
    allowed = {state.value for state in sources(ROUND_MOVES, target)} & {state.value for state in LIVE_ROUND_STATES}
    return Round.objects.filter(training=training, state__in=allowed)


def _tasks(training: Training, state: TaskState) -> QuerySet[Task]:
    live = Round.objects.filter(training=training, state__in=[state.value for state in LIVE_ROUND_STATES])
    return Task.objects.filter(round__in=live, state=state.value)


def _close_tasks(of: Round, reason: str) -> None:
    open_states = (TaskState.OFFERED.value, TaskState.LEASED.value, TaskState.LOST.value)
    still_open = of.tasks.filter(state__in=open_states)
    still_open.exclude(state=TaskState.LOST.value, reason__gt="").update(reason=reason[:500])  # why it was lost stays
    still_open.update(state=TaskState.CLOSED.value, lease_until=None)
