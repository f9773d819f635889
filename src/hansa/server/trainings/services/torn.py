"""What becomes of rows whose bytes are damaged: whatever depended on them is asked for again, and nothing is guessed.

    an upload that was not reported     is forgotten: its client is told `upload_incomplete`, and sends it again
    a result of the live round          its client is asked for it once more; a round that had closed collects again
    a local model on its way            the chain is begun anew from the version that it began with
    (daisy chaining)
    a late update that waits            is taken once more while it could still count; its client is not asked
    a late update of the closed round   the round does without it (`folding.drop`): it would come later still
    a result nobody needs any more      is let go, as it would have been
    the newest version, or what its     its round is begun anew from the version before
    server step remembers
    that one as well                    the training stops, with the reason and the file to put back

All of them are repairs: moves (`rounds.states`) that nothing but damage on the disk brings about. Twice in a row they
are one. Each time that lost bytes undo something counts as a failure of the training, so that a disk that loses
everything ends it with the reason, or, where it is moments that are lost, the round goes without them.
"""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import F, QuerySet

from hansa.protocol.events import EventKind
from hansa.protocol.tasks import TaskKind
from hansa.rounds.decide import MAX_FAILURES
from hansa.rounds.states import ROUND_REPAIRS, RoundState, TaskState, TrainingStatus, sources
from hansa.server.changes import change
from hansa.server.measures import ROUNDS_ENDED, once_committed
from hansa.server.notifications import services as outbox
from hansa.server.registry.models import ModelVersion
from hansa.server.trainings.dependants import RUNNING
from hansa.server.trainings.hints import HINTS
from hansa.server.trainings.models import Round, Task, Training, Update
from hansa.server.trainings.services import eventlog, push, relays
from hansa.server.trainings.services.closing import close_tasks, go_without_moments, release_updates
from hansa.server.trainings.services.folding import may_count, unfold
from hansa.server.trainings.services.rounds import abandon
from hansa.server.trainings.services.turns import take_turn_at

ASKED_IN = {
    TaskKind.TRAIN.value: (RoundState.COLLECTING.value, RoundState.AGGREGATING.value),
    TaskKind.SWAG.value: (RoundState.SWAG.value, RoundState.COMBINING.value),
}
"""The states of a round that cannot do without the results of a kind: it collects them, or computes with them."""
_NOT_CLOSED: Mapping[str, object] = {"accepted": None, "folded": None, "closed_at": None, "closing_reason": ""}
GOES_BACK: Mapping[str, tuple[RoundState, Mapping[str, object]]] = {
    RoundState.AGGREGATING.value: (RoundState.COLLECTING, _NOT_CLOSED),
    RoundState.COMBINING.value: (RoundState.SWAG, {"moments_accepted": None}),
}
"""From where it computes to where it collects again, and what of its record is then no longer so."""

NOT_REPORTED: Mapping[str, object] = {
    "downloaded_at": None,
    "uploaded": None,
    "uploaded_at": None,
    "uploaded_norm": None,
    "reported_at": None,
    "num_examples": None,
    "seconds": None,
    "metrics": {},
    "progress": None,
}
"""What a task says that nothing has come of yet."""


def withdraw(*, training_id: UUID, digest: str, reason: str, now: datetime) -> None:
    """Whatever clients of this training have sent, and is lost, is asked for again, or let go if nobody needs it."""
    with change("torn.withdraw"):
        take_turn_at(training_id)
        training = Training.objects.filter(id=training_id).first()
        if training is None:
            return
        unreported = Task.objects.filter(round__training=training, uploaded=digest, update=None)
        unreported.update(uploaded=None, uploaded_at=None, uploaded_norm=None)
        of_training = Update.objects.filter(blob=digest, task__round__training=training)
        lost = list(of_training.select_related("task__round__training", "task__participation"))
        for asked in {update.task.round for update in lost}:
            of_round = [update for update in lost if update.task.round_id == asked.id]
            again = f"what a client had sent is asked for again: {reason}"
            _ask_again(training, asked, [each for each in of_round if _is_needed(each)], again, now)
        _let_come_again([each for each in lost if _waits(each)], reason)
        travelling = relays.travelling(training, training.rounds_done)
        sent_on = Task.objects.filter(travelling, round__training=training, update__in=[each.pk for each in lost])
        if (relayed := sent_on.select_related("round__base").first()) is not None:
            anew = f"the chain is begun anew, as a local model on its way is lost: {reason}"
            _begin_anew(training, relayed.round.base, anew, now)
        Task.objects.filter(id__in=of_training.values("task_id")).update(uploaded=None)
        of_training.update(blob=None, reason=f"lost: {reason}"[:500])
        push.keep_up(training, now)
        transaction.on_commit(lambda: HINTS.moved(training_id))


def _is_needed(update: Update) -> bool:
    task = update.task
    return task.state == TaskState.REPORTED.value and task.round.state in ASKED_IN[task.kind]


def _waits(update: Update) -> bool:
    """Late, and in no round's list yet."""
    return update.folded_into_id is None and may_count(update.task)


def _let_come_again(waiting: list[Update], reason: str) -> None:
    """As if they had not come. A client that has its receipt has nothing left to send, and is told nothing."""
    said = f"its late update was lost before it could count: {reason}; it counts if it is sent again"
    Update.objects.filter(id__in=[update.pk for update in waiting]).delete()
    Task.objects.filter(id__in=[update.task_id for update in waiting]).update(reason=said[:500], **NOT_REPORTED)


def _ask_again(training: Training, asked: Round, lost: list[Update], reason: str, now: datetime) -> None:
    if not lost or not _collecting_again(training, asked, lost, reason, now):
        return
    tasks = Task.objects.filter(id__in=[update.task_id for update in lost])
    outbox.take_back(list(tasks.values_list("id", flat=True)))
    eventlog.note_tasks(EventKind.TASK_ASKED_AGAIN, tasks, reason=reason)
    Update.objects.filter(id__in=[update.pk for update in lost]).delete()
    tasks.update(state=TaskState.OFFERED.value, reason=reason[:500], instance="", leased_at=None, **NOT_REPORTED)
    clients = list(tasks.values_list("participation__client_id", flat=True))
    transaction.on_commit(lambda: HINTS.tasks_offered(clients))


def _collecting_again(training: Training, asked: Round, lost: list[Update], reason: str, now: datetime) -> bool:
    """The round waits for results, with its clock begun anew. False: that was in vain too often, it does without."""
    if _is_another_loss(asked, lost):
        if training.failures + 1 >= MAX_FAILURES:
            _do_without(training, asked, reason, now)
            return False
        training.failures += 1
        Training.objects.filter(id=training.id).update(failures=F("failures") + 1)
    row = Round.objects.filter(id=asked.id)
    row.update(clock_from=now, reason=reason)
    eventlog.note_round(EventKind.ROUND_REOPENED, asked, reason=reason)
    if asked.state in GOES_BACK:
        state, emptied = GOES_BACK[asked.state]
        row.update(state=state.value, claim=None, claimed_until=None, **emptied)
        if state is RoundState.COLLECTING:
            unfold(asked)
        _let_in_again(asked, TaskKind.TRAIN if state is RoundState.COLLECTING else TaskKind.SWAG)
    return True


def _is_another_loss(asked: Round, lost: list[Update]) -> bool:
    """Whether the disk has lost again what came since it was asked for; what it lost at once is found one by one."""
    since = asked.clock_from
    return asked.state in GOES_BACK or since is None or any(update.received_at > since for update in lost)


def _do_without(training: Training, asked: Round, reason: str, now: datetime) -> None:
    if asked.state in ASKED_IN[TaskKind.SWAG.value]:
        go_without_moments(f"they were lost again and again: {reason}", training, now)
    else:
        abandon(training_id=training.id, reason=reason, now=now)


def _let_in_again(asked: Round, kind: TaskKind) -> None:
    """Those the round went on without may come after all, and who came late is in time now. Nobody waits for them, as
    for those who are invited. To lose their task is no failure of theirs unless they take it once more, and no second
    one then.
    """
    closed = asked.tasks.filter(kind=kind.value, state=TaskState.CLOSED.value, participation__active=True)
    closed.filter(update__isnull=False).update(state=TaskState.REPORTED.value, reason="")
    closed.filter(update=None, participation__excluded="").update(state=TaskState.LOST.value, leased_at=None)


def rewind(*, training_id: UUID, lost: str, whole: str, reason: str, now: datetime) -> bool:
    """The newest version, or what its server step remembers, blob `lost`, is no more: its round is begun anew from the
    one before, blob `whole`.

    False if that is not how the training stands.
    """
    with change("torn.rewind"):
        take_turn_at(training_id)
        training = Training.objects.filter(id=training_id, status__in=RUNNING).first()
        if training is None:
            return False
        made = _maker_of_newest(training)
        if made is None or made.version is None or made.base.blob_id != whole:
            return False
        if lost not in (made.version.blob_id, made.version.state_id):
            return False
        _begin_anew(training, made.base, reason, now)
        push.keep_up(training, now)
        transaction.on_commit(lambda: HINTS.moved(training_id))
    return True


def _maker_of_newest(training: Training) -> Round | None:
    """The round that has made the newest version; None if that was brought along."""
    newest = ModelVersion.objects.filter(model_id=training.model_id, lost="").order_by("-number").first()
    return training.rounds.filter(version=newest).select_related("base", "version").first() if newest else None


def _begin_anew(training: Training, base: ModelVersion, reason: str, now: datetime) -> None:
    """All rounds that were trained from this version, or a later one, have come to nothing; it is the newest again."""
    states = [state.value for state in sources(ROUND_REPAIRS, RoundState.ABANDONED)]
    vain = list(training.rounds.filter(state__in=states, base__number__gte=base.number).order_by("number"))
    if not vain:
        return
    for row in vain:
        unfold(row)
        close_tasks(row, f"this attempt at round {row.number} came to nothing")
        eventlog.note_round(EventKind.ROUND_ABANDONED, row, reason=reason)
    _rows(vain).update(
        state=RoundState.ABANDONED.value, reason=reason, done_at=now, version=None, claim=None, claimed_until=None
    )
    once_committed(ROUNDS_ENDED.labels("abandoned"), len(vain))
    later = ModelVersion.objects.filter(model_id=training.model_id, number__gt=base.number, lost="")
    later.update(lost=reason[:500], state=None)
    training.rounds_done = vain[0].number - 1
    training.failures = max(training.failures + 1, _undone(training, vain[0].number))
    training.save(update_fields=["rounds_done", "failures"])
    release_updates(training=training, rounds_done=training.rounds_done)


def _undone(training: Training, number: int) -> int:
    """How many attempts at a round had closed and came to nothing. That it was done in between does not count here."""
    return training.rounds.filter(number=number, state=RoundState.ABANDONED.value, closed_at__isnull=False).count()


def _rows(rounds: list[Round]) -> QuerySet[Round]:
    return Round.objects.filter(id__in=[row.id for row in rounds])


def stop(*, training_id: UUID, reason: str, now: datetime) -> bool:
    """ONGOING or PAUSED → ERROR: nothing that the server holds leads on from here. The round stays as it is."""
    with change("torn.stop"):
        take_turn_at(training_id)
        running = Training.objects.filter(id=training_id, status__in=RUNNING)
        if not running.update(status=TrainingStatus.ERROR.value, reason=reason, finished_at=now, awaits_clients=False):
            return False
        eventlog.note(EventKind.TRAINING_FAILED, training=training_id, reason=reason)
        push.withdraw(training_id)
        transaction.on_commit(lambda: HINTS.moved(training_id))
    return True
