"""What must hold of the rows after every step, and once the faults have stopped."""

import math
from collections import Counter
from collections.abc import Mapping, Set
from datetime import datetime, timedelta
from typing import Any

from hansa.protocol.errors import ErrorCode
from hansa.protocol.tasks import TaskKind
from hansa.rounds.decide import LEASE_SECONDS
from hansa.rounds.decisions import CloseRound, CloseSwag, Decision, RelayRound, SkipMoments, Wait
from hansa.rounds.plan import Fold, Plan
from hansa.rounds.states import (
    LIVE_ROUND_STATES,
    ROUND_MOVES,
    ROUND_REPAIRS,
    TASK_MOVES,
    TASK_REPAIRS,
    TRAINING_MOVES,
    RoundState,
    TaskState,
    TrainingStatus,
)
from simulation.rows import Entry, Key, Late, RoundRow, Rows, TaskRow, TrainingRow

PHASE = {
    TaskKind.TRAIN: RoundState.COLLECTING,
    TaskKind.SWAG: RoundState.SWAG,
    TaskKind.EVALUATE: RoundState.EVALUATING,
    TaskKind.CALIBRATE: RoundState.CALIBRATING,
}
WITHOUT_FILE = frozenset({TaskKind.EVALUATE, TaskKind.CALIBRATE})
"""Tasks whose result is a few numbers."""
PUSH_LEASE_SECONDS = 3600.0
"""How long the server waits for a client that it has told of a task, where the plan has no deadline."""
FINISHED = frozenset({RoundState.DONE, RoundState.ABANDONED})
SETTLED = frozenset({TaskState.REPORTED, TaskState.FAILED, TaskState.CLOSED})


Moves = Mapping[Any, Any]  # Any: three tables, each of its own states


class BrokenError(AssertionError):
    """Something that must hold does not."""


class Watch:
    """Looks at the rows after every step, and knows what was acknowledged."""

    def __init__(self, plans: Mapping[Key, Plan]) -> None:
        self.plans = plans
        self.acknowledged: dict[Key, str] = {}
        """By task the digest that a receipt was given for; "" for an evaluation."""
        self.lost: set[str] = set()
        """The digests of what the disk has damaged: from then on moves that repair it are right, too."""
        self.has_older_clients = False
        """They are waited for longer, and what they send is leased and reported in one change."""
        self._fresh: set[Key] = set()
        self._latest: datetime | None = None
        """The latest that the clock has ever shown: it may be set back."""
        self.rows = Rows()

    def acknowledge(self, task: Key, digest: str) -> None:
        """The client was, or would have been, told that its report is durable."""
        self._fresh.add(task)
        known = self.acknowledged.get(task, digest)
        _must(known == digest or known in self.lost, f"two receipts for task {task}, of other bytes")
        self.acknowledged[task] = digest

    def refuse_again(self, task: Key, code: str) -> None:
        """A report was refused: no receipt was given for it before, unless its bytes are others, or lost."""
        known = self.acknowledged.get(task)
        is_other = known in self.lost or code in (ErrorCode.DIGEST_CONFLICT, ErrorCode.UPLOAD_INCOMPLETE)
        _must(known is None or is_other, f"the report {task} was acknowledged, and is now refused: {code}")

    def heed(self, training: Key, decision: Decision) -> None:
        """A decision has its reason, and says nothing that is not so."""
        _must(bool(decision.reason), f"{decision} has no reason")
        live = self._live(self.rows).get(training)
        match decision:
            case CloseRound() | RelayRound() | CloseSwag() | SkipMoments():
                _must(live is None or self.rows.rounds[live].state not in PHASE.values(), f"{decision} moved nothing")
            case Wait():
                _must(decision.reason != "", "it waits for nothing that it can name")

    def tell_time(self, now: datetime) -> None:
        """It may be set back after this."""
        self._latest = max(now, self._latest or now)

    def see(self, rows: Rows, now: datetime) -> None:
        """Compare with the rows as they were. Raises BrokenError."""
        self.tell_time(now)
        if rows is self.rows and not self._fresh:
            return
        before, self.rows = self.rows, rows
        for key, row in rows.trainings.items():
            self._see_training(before.trainings.get(key), row)
        moved = {key for key, row in rows.rounds.items() if before.rounds.get(key) is not row}
        for key in moved:
            self._see_round(key, before.rounds.get(key), rows)
        for key, task in rows.tasks.items():
            if (old := before.tasks.get(key)) is not task or task.round in moved:
                self._see_task(key, old, task, rows, now)
        if moved:
            self._see_all_rounds(rows)
        for key, digest in self.acknowledged.items():
            task = rows.tasks.get(key)
            if task is None or key in self._fresh or before.tasks.get(key) is not task or task.round in moved:
                self._see_receipt(key, digest, rows)
        self._fresh.clear()

    def _see_training(self, before: TrainingRow | None, row: TrainingRow) -> None:
        if before is None or before is row:
            return
        self._moves(TRAINING_MOVES, {}, before.status, row.status)
        went_back = bool(self.lost) and row.rounds_done < before.rounds_done
        one_by_one = row.rounds_done in (before.rounds_done, before.rounds_done + 1)
        _must(one_by_one or went_back, f"{before.rounds_done} rounds were done, and then {row.rounds_done}")
        if row.status in (TrainingStatus.ERROR, TrainingStatus.PAUSED):
            _must(bool(row.reason), f"a training is {row.status} and does not say why")

    def _see_round(self, key: Key, before: RoundRow | None, rows: Rows) -> None:
        row = rows.rounds[key]
        if before is None:
            _must(row.state is RoundState.COLLECTING, f"a round began as {row.state}")
            return
        repaired = self._moves(ROUND_MOVES, ROUND_REPAIRS, before.state, row.state)
        for name in ("accepted", "folded", "moments", "version", "averaged"):
            old, new = getattr(before, name), getattr(row, name)
            is_right = old is None or old == new or (repaired and new is None)
            _must(
                is_right or (name == "folded" and self._without_lost(old, new)),
                f"{name} of round {row.number} was {old}, and became {new}",
            )
        if row.accepted is not None and before.accepted is None:
            self._see_accepted(key, row, row.accepted, TaskKind.TRAIN, rows)
            cohort = [task for task in rows.tasks.values() if task.round == key and task.kind is TaskKind.TRAIN]
            needed = self.plans[row.training].closing.min_reports or 1
            _must(len(row.accepted) >= needed, f"{len(row.accepted)} of {len(cohort)} are enough, {needed} are needed")
        if row.folded is not None and before.folded is None:
            self._see_folded(key, row, rows)
        if row.moments is not None and before.moments is None:
            self._see_accepted(key, row, row.moments, TaskKind.SWAG, rows)

    def _see_accepted(self, key: Key, row: RoundRow, entries: tuple[Entry, ...], kind: TaskKind, rows: Rows) -> None:
        """In canonical order, and of every report of this round exactly one entry."""
        ordinals = [ordinal for ordinal, _, _ in entries]
        _must(ordinals == sorted(set(ordinals)), f"the list of round {row.number} is not canonical: {ordinals}")
        by_examples = self.plans[row.training].aggregator.weighting == "examples"
        reported = {
            (task.ordinal, update.digest, float(update.examples if by_examples else 1))
            for task_key, update in rows.updates.items()
            if (task := rows.tasks[task_key]).round == key and task.kind is kind and task.state is TaskState.REPORTED
        }
        said = Counter((ordinal, digest, float(weight)) for ordinal, digest, weight in entries)
        _must(said == Counter(reported), f"round {row.number} accepted {sorted(said)} of {sorted(reported)}")

    def _see_folded(self, key: Key, row: RoundRow, rows: Rows) -> None:
        """In canonical order, of rounds that are done, no later than the plan takes, each with its weight."""
        late = self.plans[row.training].late
        assert isinstance(late, Fold), "a late update counts though the plan discards them"
        entries = row.folded or ()
        places = [(number, ordinal) for ordinal, _, _, number in entries]
        _must(places == sorted(set(places)), f"the late updates of round {row.number} are not canonical: {entries}")
        by_examples = self.plans[row.training].aggregator.weighting == "examples"
        waiting = {
            (task.ordinal, update.digest, of.number): update.examples if by_examples else 1
            for task_key, update in rows.updates.items()
            if update.folded_into == key and (of := rows.rounds[(task := rows.tasks[task_key]).round])
        }
        _must(len(waiting) == len(entries), f"round {row.number} folds {entries}, and marks {waiting}")
        for ordinal, digest, weight, number in entries:
            staleness = row.number - number
            expected = waiting[ordinal, digest, number] * (1 + staleness) ** -late.exponent
            _must(1 <= staleness <= late.max_staleness, f"{staleness} rounds late, and it counts")
            _must(math.isclose(weight, expected, rel_tol=1e-12), f"a late update weighs {weight}, not {expected}")

    def _see_task(self, key: Key, before: TaskRow | None, task: TaskRow, rows: Rows, now: datetime) -> None:
        state = rows.rounds[task.round].state
        if before is None:
            _must(task.state in (TaskState.OFFERED, TaskState.LOST), f"a task began as {task.state}")
        else:
            sent_at_once = (before.state, task.state) == (TaskState.OFFERED, TaskState.REPORTED)
            if not (sent_at_once and self.has_older_clients):
                self._moves(TASK_MOVES, TASK_REPAIRS, before.state, task.state)
        if task.state is TaskState.LEASED:
            _must(state is PHASE[task.kind], f"a {task.kind} task is leased while its round is {state}")
            until = task.lease_until
            longest = PUSH_LEASE_SECONDS if self.has_older_clients else LEASE_SECONDS
            latest = (self._latest or now) + timedelta(seconds=longest)
            _must(until is not None and until <= latest, f"the lease of {key} ends at {until}, and it is {now}")
        if state in FINISHED:
            _must(task.state in SETTLED, f"a task is {task.state} though its round is {state}")
        if task.state is TaskState.REPORTED and task.kind not in WITHOUT_FILE:
            _must(key in rows.updates, f"task {key} is reported, and its update is gone")

    def _see_all_rounds(self, rows: Rows) -> None:
        counted = Counter(row.training for row in rows.rounds.values() if row.state in LIVE_ROUND_STATES)
        _must(all(count == 1 for count in counted.values()), "a training has two live rounds")
        numbers = Counter(
            (row.training, row.number) for row in rows.rounds.values() if row.state is not RoundState.ABANDONED
        )
        _must(all(count == 1 for count in numbers.values()), f"a round is there twice: {numbers}")
        folded = Counter(
            (row.training, ordinal, digest, number)
            for row in rows.rounds.values()
            if row.state is not RoundState.ABANDONED
            for ordinal, digest, _, number in row.folded or ()
        )
        _must(all(count == 1 for count in folded.values()), f"a late update counts twice: {folded}")

    def _see_receipt(self, key: Key, digest: str, rows: Rows) -> None:
        if digest in self.lost:
            return  # it may be asked for again
        task = rows.tasks.get(key)
        kept = (TaskState.REPORTED, TaskState.CLOSED)  # CLOSED: it came late
        _must(task is not None and task.state in kept, f"the acknowledged report {key} is lost: {task}")
        if task is not None and (task.kind not in WITHOUT_FILE or task.state is TaskState.CLOSED):
            update = rows.updates.get(key)
            _must(update is not None and update.digest == digest, f"acknowledged was {digest}, there is {update}")

    def _without_lost(self, old: tuple[Late, ...], new: tuple[Late, ...] | None) -> bool:
        return new is not None and {*new} <= {*old} and {line[1] for line in {*old} - {*new}} <= self.lost

    def _moves(self, table: Moves, repairs: Moves, before: object, after: object) -> bool:
        """Whether it is a repair that it has moved by."""
        repaired = bool(self.lost) and after in repairs.get(before, ())
        allowed = before == after or after in table[before]
        _must(allowed or repaired, f"{type(before).__name__} moved from {before} to {after}")
        return repaired

    @staticmethod
    def _live(rows: Rows) -> dict[Key, Key]:
        return {row.training: key for key, row in rows.rounds.items() if row.state in LIVE_ROUND_STATES}


def check_end(rows: Rows, training: Key, plan: Plan, lost: Set[str]) -> None:
    """What must hold of a training that has ended, whatever way it went, and whatever the disk has `lost`."""
    row = rows.trainings[training]
    rounds = [each for each in rows.rounds.values() if each.training == training]
    _must(all(each.state in FINISHED for each in rounds) or row.status not in _ENDED, f"{row} has a live round")
    done = sorted(each.number for each in rounds if each.state is RoundState.DONE)
    _must(done == [*range(1, row.rounds_done + 1)], f"rounds {done} are done, and it counts {row.rounds_done}")
    if row.status is TrainingStatus.COMPLETED:
        _check_late(rows, training, lost)
        _must(row.rounds_done == plan.rounds, f"it is completed after {row.rounds_done} of {plan.rounds} rounds")


def _check_late(rows: Rows, training: Key, lost: Set[str]) -> None:
    """Every late update that was accepted for a round that is done has counted, unless its bytes are lost."""
    for key, update in rows.updates.items():
        of = rows.rounds[rows.tasks[key].round]
        is_late = of.state is RoundState.DONE and rows.tasks[key].state is TaskState.CLOSED
        if of.training == training and is_late and update.digest not in lost:
            into = rows.rounds.get(update.folded_into or "")
            _must(into is not None and into.state is RoundState.DONE, f"the late update {key} counts nowhere: {into}")


_ENDED = frozenset({TrainingStatus.COMPLETED, TrainingStatus.CANCELLED})


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise BrokenError(otherwise)
