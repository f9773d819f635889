"""The end of a round, and of its phases: the accepted list is written, open tasks are closed, updates are let go.

Each of these is part of a change that `rounds` has opened, and guarded by the state that it leaves.
"""

from datetime import datetime

from django.db.models import Q, QuerySet

from hansa.protocol.events import EventKind
from hansa.protocol.tasks import TaskKind
from hansa.rounds.decisions import CloseRound, CloseSwag, RelayRound
from hansa.rounds.rules import knows_examples
from hansa.rounds.states import LIVE_ROUND_STATES, ROUND_MOVES, RoundState, TaskState, sources
from hansa.server.measures import ROUNDS_ENDED, once_committed
from hansa.server.trainings import summaries
from hansa.server.trainings.models import Round, Task, Training, Update
from hansa.server.trainings.services import calibrating, conduct, eventlog, folding, relays


def close_round(decision: CloseRound, training: Training, now: datetime) -> None:
    """COLLECTING → AGGREGATING with the accepted list, and the late updates that count beside it: from here on the
    version is determined.
    """
    closing = live_round(training, RoundState.AGGREGATING).get()
    accepted, folded = _accepted(closing, TaskKind.TRAIN, training), folding.fold(closing, training)
    live_round(training, RoundState.AGGREGATING).update(
        state=RoundState.AGGREGATING.value,
        accepted=accepted,
        folded=folded,
        closed_at=now,
        reason=decision.reason,
        closing_reason=decision.reason,
    )
    counted: eventlog.Facts = {"phase": "train", "reports": len(accepted), "late": len(folded or [])}
    eventlog.note_round(EventKind.ROUND_CLOSED, closing, reason=decision.reason, data=counted)
    close_tasks(closing, f"round {closing.number} closed without it: {decision.reason}")


def relay_round(decision: RelayRound, training: Training, now: datetime) -> None:
    """COLLECTING → DONE with the accepted list, whose local models the next round's clients go on from."""
    closing = live_round(training, RoundState.AGGREGATING).get()
    accepted = _accepted(closing, TaskKind.TRAIN, training)
    closed = {"accepted": accepted, "closed_at": now, "closing_reason": decision.reason}
    counted: eventlog.Facts = {"phase": "train", "reports": len(accepted)}
    eventlog.note_round(EventKind.ROUND_CLOSED, closing, reason=decision.reason, data=counted)
    finish_round(f"{decision.reason}; their models travel on", training, now, **closed)


def close_swag(decision: CloseSwag, training: Training) -> None:
    """SWAG → COMBINING with the accepted list: from here on the version's moments are determined."""
    closing = live_round(training, RoundState.COMBINING).get()
    accepted = _accepted(closing, TaskKind.SWAG, training)
    live_round(training, RoundState.COMBINING).update(
        state=RoundState.COMBINING.value, moments_accepted=accepted, reason=decision.reason
    )
    counted: eventlog.Facts = {"phase": "swag", "reports": len(accepted)}
    eventlog.note_round(EventKind.ROUND_CLOSED, closing, reason=decision.reason, data=counted)
    close_tasks(closing, f"round {closing.number} went on without it: {decision.reason}")


def go_without_moments(reason: str, training: Training, now: datetime) -> None:
    """SWAG | COMBINING → COMBINED, and the version has no moments. Answers are less sure of their uncertainty; the
    training loses nothing else.
    """
    waived = live_round(training, RoundState.COMBINED).get()
    live_round(training, RoundState.COMBINED).update(
        state=RoundState.COMBINED.value,
        reason=reason,
        moments_reason=reason,
        combined_at=now,
        claim=None,
        claimed_until=None,
    )
    eventlog.note_round(EventKind.ROUND_NO_MOMENTS, waived, reason=reason)
    close_tasks(waived, f"round {waived.number} goes on without moments")


def finish_round(reason: str, training: Training, now: datetime, **closed: object) -> None:
    """The round is DONE; the updates that nobody needs any more are let go. `closed`: what else is noted of it."""
    finished = live_round(training, RoundState.DONE).get()
    missing = calibrating.settle(finished, training)
    if finished.moments_reason:
        reason = f"{reason}; the version has no moments: {finished.moments_reason}"
    if missing:
        reason = f"{reason}; {missing}"
    live_round(training, RoundState.DONE).update(state=RoundState.DONE.value, done_at=now, reason=reason, **closed)
    close_tasks(finished, f"round {finished.number} is done")
    summaries.keep(finished)
    eventlog.note_round(EventKind.ROUND_DONE, finished, reason=reason)
    Training.objects.filter(id=training.id).update(rounds_done=finished.number, failures=0)
    once_committed(ROUNDS_ENDED.labels("done"))
    release_updates(training=training, rounds_done=finished.number)


def _accepted(closing: Round, kind: TaskKind, training: Training) -> list[list[object]]:
    """The accepted list: ordinal, digest and weight of every update of a kind, in canonical order."""
    by_examples = knows_examples(training.parsed_plan.aggregator)
    in_time = Q(task__round=closing, task__kind=kind.value, task__state=TaskState.REPORTED.value)
    rows = Update.objects.filter(in_time).order_by("task__participation__ordinal")
    listed = rows.values_list("task__participation__ordinal", "digest", "num_examples")
    return [[ordinal, digest, examples if by_examples else 1] for ordinal, digest, examples in listed]


def release_updates(*, training: Training, rounds_done: int) -> None:
    """Drop references to update blobs that neither the plan nor a later round needs; collection deletes the files."""
    past = Q(round__number__lte=rounds_done - training.parsed_plan.keep_updates)
    came_to_nothing = Q(round__state=RoundState.ABANDONED.value)
    old = Task.objects.filter(past | came_to_nothing, round__training=training, uploaded__isnull=False)
    old = old.exclude(relays.travelling(training, rounds_done))
    old = old.exclude(id__in=folding.wanted(training, rounds_done).values("id"))
    Update.objects.filter(task__in=old.values("id")).update(blob=None)
    old.update(uploaded=None)


def close_tasks(of: Round, reason: str) -> None:
    """Nobody is waited for any more; why a client was lost stays."""
    open_states = (TaskState.OFFERED.value, TaskState.LEASED.value, TaskState.LOST.value)
    still_open = of.tasks.filter(state__in=open_states)
    eventlog.note_tasks(EventKind.TASK_CLOSED, still_open.filter(state=TaskState.LEASED.value), reason=reason)
    conduct.note_lost(still_open)
    still_open.exclude(state=TaskState.LOST.value, reason__gt="").update(reason=reason[:500])
    still_open.update(state=TaskState.CLOSED.value, lease_until=None)


def live_round(training: Training, target: RoundState) -> QuerySet[Round]:
    """The training's live round, if it is in a state from which `target` may be reached."""
    allowed = {state.value for state in sources(ROUND_MOVES, target)} & {state.value for state in LIVE_ROUND_STATES}
    return Round.objects.filter(training=training, state__in=allowed)
