"""The beginning of a round, and of its phases: whom it asks, and for what.

Each of these is part of a change that `rounds` has opened.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import Q

from hansa.core import sampling
from hansa.protocol.events import EventKind
from hansa.protocol.tasks import TaskKind
from hansa.rounds import plan as plans
from hansa.rounds.decisions import OpenRound
from hansa.rounds.states import RoundState, TaskState
from hansa.server.registry.models import ModelVersion
from hansa.server.trainings import attendance, facts
from hansa.server.trainings.hints import HINTS
from hansa.server.trainings.models import Participation, Round, Task, Training, Update
from hansa.server.trainings.services import calibrating, eventlog, relays
from hansa.server.trainings.services.closing import close_tasks, live_round

_EVERYBODY = Q()


def open_round(decision: OpenRound, training: Training, now: datetime) -> None:
    """Select the cohort, write down how, and offer its clients a TRAIN task each, all in canonical order."""
    plan = training.parsed_plan
    everybody = list(attendance.selectable().filter(training=training))
    candidates = _candidates(decision, training, everybody, now)
    draw = _draw(decision, training, candidates, invited=plans.invitations(plan, participants=len(everybody)))
    selected = sampling.choose(draw)
    target = min(plans.cohort_size(plan, participants=len(everybody)), len(candidates))
    opened = Round.objects.create(
        training=training,
        number=decision.number,
        attempt=decision.attempt,
        base=ModelVersion.objects.filter(model_id=training.model_id, lost="").order_by("-number")[0],
        reason=decision.reason,
        selection=sampling.record(draw, selected),
        wanted=target if len(selected) > target else None,
        opened_at=now,
    )
    begun: eventlog.Facts = {"version": opened.base.number, "clients": len(selected)}
    eventlog.note_round(EventKind.ROUND_OPENED, opened, reason=decision.reason, data=begun)
    by_ordinal = {row.ordinal: row for row in candidates}
    _offer_to([by_ordinal[ordinal] for ordinal in selected], opened, plans.min_reports(plan, cohort=target))


def _candidates(
    decision: OpenRound, training: Training, everybody: Sequence[Participation], now: datetime
) -> Sequence[Participation]:
    """Whom the cohort is drawn from: of those who may be selected, the ones who can be counted on, if enough are left.

    Where the plan waits until so many are there, a cohort of others would be none of what it has waited for; and a new
    attempt at a round is not for those who made the one before come to nothing. Nobody takes another's place, and so
    nobody is left out, where all are asked.
    """
    plan = training.parsed_plan
    if plans.invitations(plan, participants=len(everybody)) >= len(everybody):
        return everybody
    wanted: list[Callable[[attendance.Standing], bool]] = []
    if plans.min_there(plan, round_number=decision.number) > 1:
        wanted.append(lambda standing: standing.there)
    if decision.attempt > 1:
        wanted.append(lambda standing: standing.expected)
    participants = attendance.selectable().filter(training=training)
    standing = {row.participation_id: row for row in attendance.standings(participants, now)} if wanted else {}
    candidates, target = everybody, plans.cohort_size(plan, participants=len(everybody))
    for rule in wanted:
        left = [row for row in candidates if rule(standing[row.id])]
        if len(left) >= plans.min_reports(plan, cohort=min(target, len(left))):
            candidates = left
    return candidates


def _draw(
    decision: OpenRound, training: Training, candidates: Sequence[Participation], *, invited: int
) -> sampling.Draw:
    rule = training.parsed_plan.cohort.selection
    return sampling.Draw(
        rule=rule,
        size=min(invited, len(candidates)),
        candidates=tuple(row.ordinal for row in candidates),
        weights=sampling.filled([row.num_examples for row in candidates]) if rule == "by_examples" else (),
        cursor=_cursor(training) if rule == "round_robin" else None,
        seed=training.seed,
        round=decision.number,
        attempt=decision.attempt,
    )


def _cursor(training: Training) -> int | None:
    """Whom the newest attempt at any round has selected last, in turn; None before the first."""
    before = training.rounds.exclude(selection=None).order_by("-number", "-attempt")
    newest = before.values_list("selection", flat=True).first()
    return None if newest is None else sampling.last_selected(newest)


def _offer_to(cohort: Sequence[Participation], opened: Round, needed: int) -> None:
    """Those who were lost and have not come since are invited and not waited for, if the others are enough."""
    present = sum(not row.absent for row in cohort)
    invited = frozenset(row.ordinal for row in cohort if row.absent and present >= needed)
    required = [row.ordinal for row in cohort if row.ordinal not in invited]
    sources = relays.sources(training=opened.training, number=opened.number, required=required, others=sorted(invited))
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


def open_calibration(reason: str, training: Training, now: datetime) -> None:
    """EVALUATING → CALIBRATING, with the temperature that came of the evaluation.

    Clients that are told of their tasks are not asked: they are of the older contract, which has no word for it.
    """
    evaluated = live_round(training, RoundState.CALIBRATING).get()
    if missing := calibrating.settle(evaluated, training):
        reason = f"{reason}; {missing}"
    close_tasks(evaluated, f"round {evaluated.number} went on without it: {reason}")
    open_phase(RoundState.CALIBRATING, reason, training, asked=Q(participation__client__message_endpoint=""))
    Round.objects.filter(id=evaluated.id).update(evaluated_at=now)


def open_phase(phase: RoundState, reason: str, training: Training, *, asked: Q = _EVERYBODY) -> None:
    """To SWAG, EVALUATING or CALIBRATING: those who reported are asked for something around the version."""
    opened = live_round(training, phase).get()
    reporters = Task.objects.filter(
        asked,
        round=opened,
        kind=TaskKind.TRAIN.value,
        state=TaskState.REPORTED.value,
        participation__active=True,
    )
    rows = list(reporters.values_list("participation_id", "participation__client_id"))
    kind = facts.phase_kind(phase).value
    Task.objects.bulk_create([Task(round=opened, participation_id=row, kind=kind) for row, _ in rows], batch_size=500)
    live_round(training, phase).update(state=phase.value, reason=reason)
    begun: eventlog.Facts = {"phase": phase.value, "clients": len(rows)}
    eventlog.note_round(EventKind.ROUND_PHASE, opened, reason=reason, data=begun)
    transaction.on_commit(lambda: HINTS.tasks_offered([client for _, client in rows]))
