"""Whether the rounds of a training follow one another: each once, each from the version of the one before.

That every version has the right bits for its round does not say so: a round that began again from an older version
would have them too, and what came in between would be in the list and not in the model.
"""

from collections import Counter
from collections.abc import Iterator

from hansa.protocol.tasks import TaskKind
from hansa.rounds import plan as plans
from hansa.rounds.plan import Plan
from hansa.rounds.states import RoundState, TaskState, TrainingStatus
from hansa.simulation.chaos.findings import Fault, Finding
from hansa.simulation.chaos.record import Record, Round, Training


def breaks(record: Record, training: Training) -> Iterator[Finding]:
    """Everything in which the rounds that count do not follow one another as the plan has it."""
    plan = plans.parse(dict(training.plan))
    counting = [of for of in record.rounds_of[training.id] if of.state != RoundState.ABANDONED.value]
    yield from _numbers(training, counting, plan)
    yield from _bases(record, training, counting, plan)
    yield from _version_numbers(record, training)
    for of in counting:
        if of.state == RoundState.DONE.value:
            yield from _sizes(record, training, of, plan)


def _numbers(training: Training, counting: list[Round], plan: Plan) -> Iterator[Finding]:
    """One attempt that counts for each number; in a completed training, for all of them, and each is done."""
    times = Counter(of.number for of in counting)
    for number, count in times.items():
        if count > 1:
            yield Finding(Fault.DUPLICATED, f"round {number} of training {training.name} was carried through {count}x")
        if number not in range(1, plan.rounds + 1):
            yield Finding(Fault.DUPLICATED, f"training {training.name} has round {number} of {plan.rounds}")
    if training.status == TrainingStatus.COMPLETED.value:
        done = {of.number for of in counting if of.state == RoundState.DONE.value}
        for number in sorted(set(range(1, plan.rounds + 1)) - done):
            text = f"training {training.name} has completed, and its round {number} of {plan.rounds} was never done"
            yield Finding(Fault.STUCK, text)


def _bases(record: Record, training: Training, counting: list[Round], plan: Plan) -> Iterator[Finding]:
    """A round goes on from the newest version: that of the round before, or in a daisy chain of the last aggregated."""
    numbers = {row.number: row.id for row in record.versions.values() if row.model == training.model}
    newest, made = numbers.get(0), 0
    for of in counting:
        if newest is None or of.base != newest:
            text = (
                f"{of.title} began from version row {of.base} instead of {newest}: what came before it is in no model"
            )
            yield Finding(Fault.LOST, text)
        if not plans.aggregates(plan, round_number=of.number):
            if of.version is not None:
                yield Finding(Fault.DIFFERING, f"{of.title} has a version, and its models were to travel on")
            continue
        if of.version is not None:
            made += 1
            if numbers.get(made) != of.version:
                text = f"{of.title} made version row {of.version} instead of version {made} of its model"
                yield Finding(Fault.DIFFERING, text)
            newest = of.version


def _version_numbers(record: Record, training: Training) -> Iterator[Finding]:
    numbers = sorted(row.number for row in record.versions.values() if row.model == training.model)
    if numbers != list(range(len(numbers))):
        yield Finding(Fault.DIFFERING, f"the versions of training {training.name} are numbered {numbers}")


def _sizes(record: Record, training: Training, of: Round, plan: Plan) -> Iterator[Finding]:
    """So many clients were asked as the plan invites; all that reported in time are listed, and they are enough."""
    tasks = [task for task in record.tasks_of[of.id] if task.kind == TaskKind.TRAIN.value]
    invited = plans.invitations(plan, participants=training.participants)
    if len(tasks) > invited or (len(tasks) < invited and not _may_leave_out(training, of, plan)):
        yield Finding(Fault.DIFFERING, f"{of.title} asked {len(tasks)} clients; the plan invites {invited}")
    listed = {line[0] for line in of.accepted}
    for task in tasks:
        if task.state == TaskState.REPORTED.value and task.ordinal not in listed:
            yield Finding(Fault.LOST, f"the update of client {task.ordinal} came in time for {of.title}, not listed")
    cohort = min(plans.cohort_size(plan, participants=training.participants), len(tasks))
    needed = plans.min_reports(plan, cohort=cohort)
    if not needed <= len(of.accepted) <= len(tasks):
        text = f"{of.title} counts {len(of.accepted)} updates of {len(tasks)} clients asked; {needed} are needed"
        yield Finding(Fault.DIFFERING, text)


def _may_leave_out(training: Training, of: Round, plan: Plan) -> bool:
    """Where not all are asked anyhow, a cohort may be drawn from fewer: without those who did not come for the attempt
    before, or are not there where the plan waits for so many.
    """
    asks_all = plans.invitations(plan, participants=training.participants) >= training.participants
    return not asks_all and (of.attempt > 1 or plans.min_there(plan, round_number=of.number) > 1)
