"""What the actor does: create, start, pause, resume, cancel, delete, add and remove clients."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from django.db import transaction
from django.db.models import Max

from hansa.protocol.accounts import Invitation
from hansa.protocol.errors import ErrorCode
from hansa.protocol.events import EventKind
from hansa.rounds import plan as plans
from hansa.rounds.decide import decide
from hansa.rounds.decisions import Wait
from hansa.rounds.encoding import check_encoding_of
from hansa.rounds.shorthands import Shorthand
from hansa.rounds.states import TRAINING_MOVES, TaskState, TrainingStatus, sources
from hansa.server.accounts import services as accounts
from hansa.server.accounts.models import User
from hansa.server.changes import change
from hansa.server.lifecycle.errors import ConflictError, InvalidError, NotFoundError
from hansa.server.registry.models import Model, ModelKind
from hansa.server.registry.names import name_of_copy
from hansa.server.registry.services import copy_model
from hansa.server.trainings import attendance, facts
from hansa.server.trainings.hints import HINTS
from hansa.server.trainings.models import Participation, Task, Training
from hansa.server.trainings.services import eventlog, memory, push
from hansa.server.trainings.services.rounds import end_live_round, restart_clocks
from hansa.server.trainings.services.turns import take_turn_at


def create(  # what a training is
    *,
    actor: User,
    model: Model,
    plan: plans.Plan,
    clients: Sequence[User],
    name: str,
    now: datetime,
    shorthand: Shorthand | None = None,
) -> Training:
    """A training of `model`, or of a copy of it if it has one already. Its seed is drawn if the plan has none.

    A copy has a name of its own, so that both can be meant by their names, unless the training is asked for by a
    `shorthand`.

    `shorthand`: the words that the plan was made from, to be shown as they were given. Raises InvalidError for a plan
    that this kind of model cannot have.
    """
    _check_kind(model, plan)
    _check_encoding(model, plan)
    seed = secrets.randbits(53) if plan.seed is None else plan.seed
    with change("trainings.create"):
        # Locked: two at once would both find it free.
        if not list(Model.objects.select_for_update(no_key=True).filter(id=model.id).values_list("id")):
            raise NotFoundError(f"There is no model {model.id} any more: it has just been deleted. Name another one.")
        if Training.objects.filter(model=model).exists():
            # The older contract's clients find the copy by its id, under the name that they know.
            model = copy_model(model=model, now=now, name="" if shorthand is not None else name_of_copy(model.name))
        training = Training.objects.create(
            name=(name or model.name)[:200],  # a model's may be longer
            model=model,
            actor=actor,
            plan=plans.to_data(plan),
            shorthand=None if shorthand is None else msgspec.to_builtins(shorthand),
            seed=seed,
            created_at=now,
        )
        eventlog.note(EventKind.TRAINING_CREATED, training=training.id)
        _join(training, clients)
    return training


def _check_kind(model: Model, plan: plans.Plan) -> None:
    """An ensemble answers by its members, which only a mean of models has; and such a mean has no params of its own."""
    method, is_mean = plan.uncertainty.method, model.kind == ModelKind.MEAN.value
    if method == "ensemble" and not is_mean:
        raise InvalidError(
            f"The uncertainty method ENSEMBLE needs a model of kind mean, made of several; {model.name!r} is of kind "
            f"{model.kind}. Make one of its members with POST /api/models/, type MEAN, or choose another method.",
            ErrorCode.UNSOUND_PLAN,
        )
    if method in ("snapshots", "mc_dropout", "swag") and is_mean:
        raise InvalidError(
            f"{model.name!r} is a mean of models; its uncertainty is that of an ENSEMBLE, not {method.upper()}.",
            ErrorCode.UNSOUND_PLAN,
        )


def _check_encoding(model: Model, plan: plans.Plan) -> None:
    """What updates are to leave out has to be known to this model."""
    try:
        check_encoding_of(plan.encoding, model.param_spec, model.ties)
    except plans.UnsoundPlanError as error:
        raise InvalidError(str(error), ErrorCode.UNSOUND_PLAN) from error


def _join(training: Training, clients: Sequence[User]) -> None:
    """Add clients at the end of the join order; those that were removed or excluded come back to their old place."""
    present = {row.client_id: row for row in training.participations.all()}
    named = [present[user.id] for user in clients if user.id in present]
    coming_back = [row.id for row in named if row.excluded or not row.active]
    Participation.objects.filter(id__in=[row.id for row in named]).update(active=True, excluded="", failures=0)
    last = training.participations.aggregate(last=Max("ordinal"))["last"]
    first = 0 if last is None else last + 1
    new = [user for user in clients if user.id not in present]
    joined = Participation.objects.bulk_create(
        [Participation(training=training, client=user, ordinal=first + i) for i, user in enumerate(new)]
    )
    added = [*coming_back, *(row.id for row in joined)]
    eventlog.note_participants(EventKind.PARTICIPANT_ADDED, training.id, added)


def start(*, training_id: UUID, now: datetime) -> None:
    """INITIAL → ONGOING. Raises InvalidError if the participants cannot fulfil the plan.

    Where the plan waits for more of them, that is seen once they are there.
    """
    with change("trainings.start"):
        training = _training(training_id)
        if training.model.kind == ModelKind.MEAN.value:
            raise ConflictError(
                f"{training.model.name!r} is a mean of models, and has no params to train: train its members. This "
                "training only says how it answers."
            )
        participants = attendance.selectable().filter(training=training).count()
        if not participants:
            raise InvalidError(_nobody(training), "no_clients")
        plan = training.parsed_plan
        if participants >= plan.participation.min_to_start:
            try:
                plans.check_against(plan, participants=participants)
            except plans.UnsoundPlanError as error:
                raise InvalidError(str(error), "unsound_plan") from error
        begun = Training.objects.filter(id=training_id, status=TrainingStatus.INITIAL.value)
        if not begun.update(status=TrainingStatus.ONGOING.value, reason="", started_at=now):
            raise ConflictError(
                f"The training is {training.status}; only an initial one can be started. {_next(training)}"
            )
        eventlog.note(EventKind.TRAINING_STARTED, training=training_id)
        push.started(training, now)
        _moved(training_id)


def _nobody(training: Training) -> str:
    closed = training.participations.filter(active=True, client__is_active=False).values_list("client__username")
    names = sorted(name for (name,) in closed)
    if not names:
        return "At least one participant must be registered! Add clients, then start."
    who = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return (
        f"Nobody is left to take part: the accounts of all participants are closed ({who}). Add other clients, or have "
        "an administrator open an account again; then start."
    )


def pause(*, training_id: UUID, reason: str = "paused by its actor") -> None:
    """ONGOING → PAUSED. Work in progress may still be reported; nothing new is handed out.

    One that is paused already, because it waits for clients, goes on by itself no more.
    """
    with change("trainings.pause"):
        take_turn_at(training_id)
        waiting = Training.objects.filter(id=training_id, status=TrainingStatus.PAUSED.value, awaits_clients=True)
        if waiting.update(awaits_clients=False, reason=reason):
            eventlog.note(EventKind.TRAINING_PAUSED, training=training_id, reason=reason)
            _moved(training_id)
            return
        _move(training_id, TrainingStatus.PAUSED, reason=reason)
        eventlog.note(EventKind.TRAINING_PAUSED, training=training_id, reason=reason)
        push.withdraw(training_id)


def resume(*, training_id: UUID, now: datetime) -> None:
    """PAUSED or ERROR → ONGOING, with as many attempts as a new round has.

    Raises ConflictError also for one that waits for clients, and would wait on.
    """
    with change("trainings.resume"):
        training = _training(training_id)
        if training.awaits_clients and isinstance(waits := decide(facts.load(training, now), now), Wait):
            raise ConflictError(f"The training is paused by its plan, and resuming does not help: {waits.reason}")
        halted = Training.objects.filter(
            id=training_id, status__in=(TrainingStatus.PAUSED.value, TrainingStatus.ERROR.value)
        )
        if not halted.update(
            status=TrainingStatus.ONGOING.value, awaits_clients=False, reason="", failures=0, finished_at=None
        ):
            raise ConflictError(
                f"The training is {training.status}; only a paused or failed one can be resumed. {_next(training)}"
            )
        eventlog.note(EventKind.TRAINING_RESUMED, training=training_id)
        restart_clocks(training.rounds.all(), now)
        push.keep_up(training, now)
        clients = list(training.participations.filter(active=True).values_list("client_id", flat=True))
        transaction.on_commit(lambda: HINTS.tasks_offered(clients))
        _moved(training_id)


def cancel(*, training_id: UUID, now: datetime) -> None:
    """Any unfinished status → CANCELLED. Versions made so far stay."""
    with change("trainings.cancel"):
        _move(training_id, TrainingStatus.CANCELLED, reason="cancelled by its actor", finished_at=now)
        eventlog.note(EventKind.TRAINING_CANCELLED, training=training_id)
        end_live_round(training_id=training_id, reason="the training was cancelled", now=now)
        push.withdraw(training_id)


def delete(*, training_id: UUID, now: datetime) -> None:
    """Delete the training with its rounds, and cancel it before if it runs. Its model and versions stay."""
    with change("trainings.delete"):
        training = _training(training_id)
        if training.status in (TrainingStatus.ONGOING.value, TrainingStatus.PAUSED.value):
            cancel(training_id=training_id, now=now)
        memory.let_go(training.model_id)
        training.delete()
        push.forget(training_id)


def add_clients(*, training_id: UUID, clients: Sequence[User]) -> None:
    """Let clients join; from the next round on if the training runs."""
    with change("trainings.add_clients"):
        training = _training(training_id)
        if training.status in (TrainingStatus.COMPLETED.value, TrainingStatus.CANCELLED.value):
            raise ConflictError(f"The training is {training.status}; nobody can join it any more. {_next(training)}")
        _join(training, clients)
        _moved(training_id)


def connect(*, training_id: UUID, actor: User, username: str, expires_in_seconds: float, now: datetime) -> Invitation:
    """Invite a machine and let it join: both, or neither. Raises as `accounts.services.invite` and `add_clients`."""
    with transaction.atomic():  # each of the two has its crash points
        invited = accounts.invite(actor=actor, username=username, expires_in_seconds=expires_in_seconds, now=now)
        add_clients(training_id=training_id, clients=[User.objects.get(username=username)])
    return invited


def remove_clients(
    *,
    training_id: UUID,
    clients: Sequence[User],
    reason: str = "the client was removed from the training",
    told_as: EventKind = EventKind.PARTICIPANT_REMOVED,
) -> None:
    """Take clients out, at once: what they are working on is no longer waited for. What they reported stays."""
    with change("trainings.remove_clients"):
        _training(training_id)
        leaving = Participation.objects.filter(training_id=training_id, client__in=clients)
        eventlog.note_participants(told_as, training_id, leaving.filter(active=True).values_list("id", flat=True))
        leaving.update(active=False)
        open_states = (TaskState.OFFERED.value, TaskState.LEASED.value, TaskState.LOST.value)
        Task.objects.filter(participation__in=leaving, state__in=open_states).update(
            state=TaskState.CLOSED.value, reason=reason
        )
        push.dismiss(training_id, clients)
        _moved(training_id)


def leave(*, training_id: UUID, client: User) -> None:
    """The client takes itself out, at once; nothing if it has left already. What it reported stays."""
    with change("trainings.leave"):
        take_turn_at(training_id)
        if Participation.objects.filter(training_id=training_id, client=client, active=True).exists():
            left = EventKind.PARTICIPANT_LEFT
            remove_clients(
                training_id=training_id, clients=[client], reason="the client left the training", told_as=left
            )


def _move(training_id: UUID, target: TrainingStatus, *, reason: str, finished_at: datetime | None = None) -> None:
    with change("trainings.move"):
        training = _training(training_id)
        allowed = [state.value for state in sources(TRAINING_MOVES, target)]
        movable = Training.objects.filter(id=training_id, status__in=allowed)
        if not movable.update(status=target.value, awaits_clients=False, reason=reason, finished_at=finished_at):
            raise ConflictError(
                f"The training is {training.status}; it cannot become {target.value}{_or(training, target)}"
            )
        _moved(training_id)


_NEXT: Final = {
    TrainingStatus.INITIAL.value: "Start it first.",
    TrainingStatus.ONGOING.value: "It is at work; its record says how far it is.",
    TrainingStatus.PAUSED.value: "Resume it.",
    TrainingStatus.ERROR.value: "Mend what its reason names, then resume it.",
}
_ANEW: Final = "It has ended; create another one of its model, which goes on from the newest version."


def _next(training: Training) -> str:
    """What can be done with it as it stands."""
    return _NEXT.get(training.status, _ANEW)


def _or(training: Training, target: TrainingStatus) -> str:
    return " once more." if training.status == target.value else f". {_next(training)}"


def _training(training_id: UUID) -> Training:
    take_turn_at(training_id)
    training = Training.objects.filter(id=training_id).first()
    if training is None:
        raise NotFoundError(f"There is no training {training_id} any more. GET /api/users/trainings/ lists yours.")
    return training


def _moved(training_id: UUID) -> None:
    transaction.on_commit(lambda: HINTS.moved(training_id))
