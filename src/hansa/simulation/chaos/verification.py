"""What is wrong in a record: reports lost or counted twice, versions that differ, what is stuck, orphaned or left over.

A report is *acknowledged* when its client has its receipt. It *counts* where the accepted list of its round has it; or,
where it came late and the plan folds such, the list of folded updates of one later round; an evaluation counts by its
metrics. What was acknowledged in an attempt that was abandoned later counts nowhere, by the rules: the attempt after
it asks its client again. So each of these needs a reason that the record supports (`abandonment`).
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain

from hansa.protocol.tasks import TaskKind
from hansa.rounds import plan as plans
from hansa.rounds.states import LIVE_ROUND_STATES, RoundState, TaskState, TrainingStatus
from hansa.simulation.chaos.abandonment import unsupported
from hansa.simulation.chaos.findings import Fault, Finding
from hansa.simulation.chaos.participant import Receipt
from hansa.simulation.chaos.record import Record, Round, Task, Update
from hansa.simulation.chaos.repetition import Repetition, torn
from hansa.simulation.chaos.succession import breaks
from hansa.simulation.chaos.witness import Witness, bare


def verify(record: Record, receipts: Iterable[Receipt], witness: Witness | None = None) -> list[Finding]:
    """Everything that is wrong; an empty list is the goal."""
    checks = {
        Fault.LOST: chain(_lost(record, receipts), _unmade(record, witness or Witness()), _in_vain(record)),
        Fault.DUPLICATED: _duplicated(record),
        Fault.STUCK: _stuck(record),
        Fault.ORPHAN: _orphans(record),
        Fault.UNREFERENCED: _unreferenced(record),
        Fault.DIFFERING: _differing(record),
    }
    found = [Finding(fault, text) for fault, texts in checks.items() for text in texts]
    return found + [broken for training in record.trainings.values() for broken in breaks(record, training)]


def _lost(record: Record, receipts: Iterable[Receipt]) -> Iterator[str]:
    for task_id in dict.fromkeys(bare(receipt.task) for receipt in receipts):
        task = record.tasks.get(task_id)
        if task is None:
            yield f"task {task_id} was acknowledged, and there is no such task"
        elif why := _uncounted(record, task):
            yield f"{task.kind} task {task_id} of client {task.ordinal} was acknowledged, and {why}"
    for digest in sorted(record.referenced - record.files.keys()):
        yield f"blob {digest} is referred to, and its file is gone"
    for path in record.damaged:
        yield f"{path} was set aside: a kill has torn its bytes"


def _unmade(record: Record, witness: Witness) -> Iterator[str]:
    """What the actor was told that it was made, and is not there, or was denied."""
    for training in sorted(witness.trainings - record.trainings.keys()):
        yield f"training {training} was acknowledged, and there is no such training"
    for training in sorted(witness.denied & record.trainings.keys()):
        yield f"training {training} is there, and the server has answered that it is not"
    uploaded = {version.model for version in record.versions.values() if version.number == 0}
    for model in sorted(witness.models - uploaded):
        yield f"model {model} was acknowledged, and its first version is not there"


def _in_vain(record: Record) -> Iterator[str]:
    for training in record.trainings.values():
        yield from unsupported(record, training)


def _uncounted(record: Record, task: Task) -> str:
    """Why an acknowledged report counts nowhere; "" if it does."""
    of, update = record.rounds[task.round], record.updates.get(task.id)
    if task.kind == TaskKind.CALIBRATE.value:
        return "" if task.state == TaskState.REPORTED.value else f"the task is {task.state}"
    if task.kind == TaskKind.EVALUATE.value:
        place = (record.trainings[of.training].model, task.client, task.kind, of.number)
        if task.state != TaskState.REPORTED.value:
            return f"the task is {task.state}"
        return "" if not task.has_metrics or place in record.metrics else "its metrics are not there"
    if update is None:
        return f"there is no update of it; the task is {task.state}"
    if of.state == RoundState.ABANDONED.value or _entry(task, update) in _entries(record, of, task, update):
        return ""
    return f"no list has it; the task is {task.state}, its round {of.state}"


def _entry(task: Task, update: Update) -> list[object]:
    return [task.ordinal, update.digest]


def _entries(record: Record, of: Round, task: Task, update: Update) -> list[list[object]]:
    """The list that an update belongs to: of its round, or, if it came late, of the round that it was folded into."""
    if task.kind == TaskKind.SWAG.value:
        listed = of.moments_accepted
    elif task.state == TaskState.REPORTED.value:
        listed = of.accepted
    else:
        later = record.rounds.get(update.folded_into or "")
        counts = later is not None and later.state != RoundState.ABANDONED.value
        listed = [line for line in later.folded if line[3] == of.number] if later is not None and counts else []
    return [list(line[:2]) for line in listed]


def _duplicated(record: Record) -> Iterator[str]:
    counted: Counter[str] = Counter()
    for of in record.rounds.values():
        if of.state == RoundState.ABANDONED.value:
            continue
        for kind, listed in ((TaskKind.TRAIN, of.accepted), (TaskKind.SWAG, of.moments_accepted)):
            tasks = {task.ordinal: task for task in record.tasks_of[of.id] if task.kind == kind.value}
            for ordinal, digest, _ in listed:
                yield from _counted(record, tasks.get(ordinal), digest, of, counted)
        for ordinal, digest, _, number in of.folded:
            yield from _counted(record, _late(record, of, ordinal, digest, number), digest, of, counted)
    for task, times in counted.items():
        if times > 1:
            yield f"the update of task {task} counts {times} times"


def _counted(record: Record, task: Task | None, digest: str, of: Round, counted: Counter[str]) -> Iterator[str]:
    update = None if task is None else record.updates.get(task.id)
    if update is None or update.digest != digest:
        yield f"{of.title} counts update {digest}, which nobody has reported for it"
    else:
        counted[update.task] += 1


def _late(record: Record, of: Round, ordinal: int, digest: str, number: int) -> Task | None:
    attempts = [attempt for attempt in record.rounds_of[of.training] if attempt.number == number]
    for task in (task for attempt in attempts for task in record.tasks_of[attempt.id]):
        update = record.updates.get(task.id)
        if task.ordinal == ordinal and update is not None and update.digest == digest and update.folded_into == of.id:
            return task
    return None


def _stuck(record: Record) -> Iterator[str]:
    open_states = {TaskState.OFFERED.value, TaskState.LEASED.value, TaskState.LOST.value}
    live_states = {state.value for state in LIVE_ROUND_STATES}
    for training in record.trainings.values():
        if training.status != TrainingStatus.COMPLETED.value:
            yield f"training {training.name} is {training.status}: {training.reason or 'no reason is stored'}"
    for of in record.rounds.values():
        if record.trainings[of.training].status != TrainingStatus.COMPLETED.value:
            continue
        if of.state in live_states or of.claimed:
            yield f"{of.title} is {of.state}{', claimed' if of.claimed else ''}, and its training has completed"
        for task in record.tasks_of[of.id]:
            if task.state in open_states:
                yield f"{task.kind} task {task.id} of {of.title} is {task.state}, and nobody will do it"


def _orphans(record: Record) -> Iterator[str]:
    yield from record.orphans
    made = {of.version for of in record.rounds.values()}
    for version in record.versions.values():
        if version.number and version.id not in made:
            yield f"version {version.number} of model {version.model} came of no round"
    for task in record.tasks.values():
        has = task.id in record.updates
        late = task.kind == TaskKind.TRAIN.value and task.state == TaskState.CLOSED.value
        if task.kind != TaskKind.EVALUATE.value and has != (task.state == TaskState.REPORTED.value) and not late:
            yield f"{task.kind} task {task.id} is {task.state}, and has {'an' if has else 'no'} update"
    for of in record.rounds.values():
        plan = plans.parse(dict(record.trainings[of.training].plan))
        wants_version = of.state == RoundState.DONE.value and plans.aggregates(plan, round_number=of.number)
        if wants_version and of.version not in record.versions:
            yield f"{of.title} is done, and has no version"


def _unreferenced(record: Record) -> Iterator[str]:
    for digest in sorted(record.blobs.keys() - record.referenced):
        yield f"blob {digest} has a row that nothing refers to"
    for name in sorted(record.files.keys() - record.blobs.keys()):
        yield f"{record.files[name]} has no row"
    for path in record.leftovers:
        yield f"{path} was left behind"


def _differing(record: Record) -> Iterator[str]:
    yield from torn(record.files)
    for training in record.trainings.values():
        yield from Repetition(record, training).differences()
