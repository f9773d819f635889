"""The rows as a small model in memory: what `services` does with them, written once more and as short as can be.

Whatever is decided comes from `hansa.rounds`; so thousands of schedules show in seconds whether its rules are sound.
"""

import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from hansa.core import sampling
from hansa.core.seeds import client_seed
from hansa.protocol.errors import ErrorCode
from hansa.protocol.tasks import TaskKind
from hansa.rounds.decide import CLAIM_SECONDS, LEASE_SECONDS, decide
from hansa.rounds.decisions import Aggregate, Combine, Decision, Wait
from hansa.rounds.states import RoundState, TaskState, TrainingStatus
from simulation.coroutines import Turn
from simulation.invariants import PHASE, WITHOUT_FILE
from simulation.machine import Machine
from simulation.memory_late import takes
from simulation.memory_rounds import MOMENT, carry_out, facts
from simulation.network import Network
from simulation.process import Assignment, Chore, Receiver
from simulation.rows import Key, Refused, RoundRow, UpdateRow
from simulation.schedules import LARGE, Schedule, play
from simulation.tables import OPEN, Learning, Member, Tables, Work
from simulation.timeline import Timeline

LEASE = timedelta(seconds=LEASE_SECONDS)
MAX_TROUBLES = 5
TROUBLE_SECONDS = 5.0

Job = tuple[Key, int, RoundRow]
"""A round as it was claimed, and by which claim."""


class Memory(Tables):
    """The `Service` whose rows are a model."""

    @property
    def trainings(self) -> Sequence[Key]:
        return [*self.learnings]

    def participants(self, training: Key) -> set[int]:
        return {member.client for member in self.learnings[training].members if member.selectable}

    def check_end(self, now: datetime) -> None:
        """Every cohort can be selected again."""
        for key, phase in self.phases.items():
            asked = [
                task.ordinal for task in self.store.tasks.values() if task.round == key and task.kind is TaskKind.TRAIN
            ]
            assert phase.selection is None or sampling.replay(phase.selection) == sorted(asked)

    def forget_memory(self) -> None:
        self.seen.clear()
        self.troubles.clear()

    def chores(self) -> Sequence[Chore]:
        """There are no files."""
        return []

    def harm(self) -> str:
        """As above."""
        return ""

    def put_back(self) -> None:
        """As above."""

    def connect(self, network: Network, told: Mapping[int, Receiver]) -> None:
        """Nobody is told of tasks."""

    async def send_result(self, client: int, kind: TaskKind, body: dict[str, object], value: int) -> tuple[Key, str]:
        """Nor sends forms."""
        raise NotImplementedError

    def begin(self, now: datetime) -> None:
        with self.change("tasks.forgive_downtime"):
            self.restart_clocks([*self.store.rounds], now)
            for key, task in self.store.tasks.items():
                if task.state is TaskState.LEASED:
                    self.set_task(key, lease_until=now + LEASE)
        with self.change("aggregation.drop_claims"):
            for phase in self.phases.values():
                phase.claim = phase.claimed_until = None

    # What clients do.

    def ask(self, client: int, instance: str, now: datetime) -> Assignment | None:
        known = client in self.seen and self.seen[client] > now - MOMENT
        self.seen[client] = now
        if not known:
            for training, row in self.store.trainings.items():
                if row.awaits_clients and client in self.participants(training):
                    self.moved(training)
        candidates = [key for key, work in self.works.items() if self._leasable(key, work, client, instance)]
        if not candidates:
            return None
        key = min(candidates, key=lambda each: (self.works[each].opened_at, each))
        with self.change("tasks.lease_next"):
            work = self.works[key]
            work.leased_at = work.leased_at if work.instance == instance and work.leased_at else now
            work.instance = instance
            self.set_task(key, state=TaskState.LEASED, lease_until=now + LEASE)
            self.member(key).absent = False
            self.tell_of(key)
        task = self.store.tasks[key]
        of = self.store.rounds[task.round]
        seed = client_seed(self.learnings[of.training].seed, of.number, task.ordinal)
        return Assignment(key, task.kind, of.training, of.number, task.ordinal, seed, of.base)

    def _leasable(self, key: Key, work: Work, client: int, instance: str) -> bool:
        task = self.store.tasks[key]
        mine = work.client == client and task.state in OPEN
        if not mine or (task.state is TaskState.LEASED and work.instance != instance):
            return False
        of = self.store.rounds[task.round]
        ongoing = self.store.trainings[of.training].status is TrainingStatus.ONGOING
        return ongoing and of.state is PHASE[task.kind] and self.member(key).active

    def renew(self, client: int, task: Key, now: datetime) -> str:
        with self.change("tasks.renew"):
            if reason := self._closed(task):
                return reason
            if self.store.tasks[task].state is TaskState.OFFERED:
                return "the task is offered"
            if self.store.tasks[task].state is TaskState.CLOSED:
                return ""
            self.set_task(task, state=TaskState.LEASED, lease_until=now + LEASE)
            return ""

    def upload(self, client: int, task: Key, value: int, now: datetime) -> None:
        with self.change("tasks.record_upload"):
            self._require_open(task)
            self.works[task].uploaded = _digest(value)
            if self.store.tasks[task].state is TaskState.LEASED:
                self.set_task(task, lease_until=now + LEASE)

    def report(self, client: int, task: Key, value: int | None, examples: int, now: datetime) -> str:
        digest = "" if value is None else _digest(value)
        with self.change("tasks.report"):
            row, work = self.store.tasks[task], self.works[task]
            late = row.state is TaskState.CLOSED
            if row.state is TaskState.REPORTED or (late and task in self.store.updates):
                known = self.store.updates[task].digest if task in self.store.updates else ""
                if known != digest:
                    raise Refused(ErrorCode.DIGEST_CONFLICT)
                return digest
            self._require_open(task)
            if row.kind not in WITHOUT_FILE:
                if work.uploaded != digest:
                    raise Refused(ErrorCode.UPLOAD_INCOMPLETE)
                self.store.updates[task] = UpdateRow(digest, examples)
            if row.kind is TaskKind.TRAIN:
                member = self.member(task)
                member.num_examples, member.failures = examples, 0
            work.reported_at = now
            if not late:
                self.set_task(task, state=TaskState.REPORTED, lease_until=None)
            self.tell_of(task)
        return digest

    def give_back(self, client: int, task: Key, *, failed: bool, now: datetime) -> None:
        with self.change("tasks.give_back"):
            if self.store.tasks[task].state is TaskState.LEASED:
                if not failed:
                    self.lose(task)
                if failed:
                    self.note_failed(task)
                self.set_task(task, state=TaskState.FAILED if failed else TaskState.LOST, lease_until=None)
                self.tell_of(task)

    def _require_open(self, task: Key) -> None:
        if self._closed(task):
            row = self.store.tasks[task]
            is_open = self.store.rounds[row.round].state is PHASE[row.kind]
            raise Refused(ErrorCode.TASK_CLOSED if is_open else ErrorCode.ROUND_CLOSED)
        if self.store.tasks[task].state is TaskState.OFFERED:
            raise Refused(ErrorCode.WRONG_STATE)

    def _closed(self, task: Key) -> str:
        row = self.store.tasks[task]
        of = self.store.rounds[row.round]
        status = self.store.trainings[of.training].status
        if status not in (TrainingStatus.ONGOING, TrainingStatus.PAUSED):
            return f"the training is {status}"
        if of.state is not PHASE[row.kind]:
            return "" if takes(self, task) else f"round {of.number} has closed"
        return "" if row.state in OPEN else f"the task is {row.state}"

    # What the actor does.

    def steer(self, training: Key, what: str, clients: Sequence[int], now: datetime) -> None:
        with self.change(f"trainings.{what}"):
            row, learning = self.store.trainings[training], self.learnings[training]
            match what, row.status:
                case "pause", TrainingStatus.ONGOING | TrainingStatus.PAUSED:
                    if row.status is TrainingStatus.PAUSED and not row.awaits_clients:
                        raise Refused(ErrorCode.WRONG_STATE)
                    paused = TrainingStatus.PAUSED
                    self.set_training(training, status=paused, reason="paused by its actor", awaits_clients=False)
                case "resume", TrainingStatus.PAUSED | TrainingStatus.ERROR:
                    if row.awaits_clients and isinstance(decide(facts(self, training, now), now), Wait):
                        raise Refused(ErrorCode.WRONG_STATE)
                    learning.failures = 0
                    self.set_training(training, status=TrainingStatus.ONGOING, reason="", awaits_clients=False)
                    self.restart_clocks([key for key, of in self.store.rounds.items() if of.training == training], now)
                    self.hints += [lambda each=each: self.offered(each.client) for each in learning.members]
                case "cancel", TrainingStatus.ONGOING | TrainingStatus.PAUSED | TrainingStatus.ERROR:
                    cancelled = TrainingStatus.CANCELLED
                    self.set_training(training, status=cancelled, reason="cancelled by its actor", awaits_clients=False)
                    self._end_live_round(training)
                case "add_clients", TrainingStatus.ONGOING | TrainingStatus.PAUSED | TrainingStatus.ERROR:
                    self._join(learning, clients)
                case "remove_clients" | "leave", _:
                    self._remove(training, clients)
                case _:
                    raise Refused(ErrorCode.WRONG_STATE)
            self.hints.append(lambda: self.moved(training))

    @staticmethod
    def _join(learning: Learning, clients: Sequence[int]) -> None:
        known = {member.client: member for member in learning.members}
        for client in clients:
            if client in known:
                known[client].active, known[client].excluded, known[client].failures = True, False, 0
            else:
                learning.members.append(Member(client))

    def _remove(self, training: Key, clients: Sequence[int]) -> None:
        for member in self.learnings[training].members:
            member.active &= member.client not in clients
        for key, task in [*self.store.tasks.items()]:
            theirs = self.works[key].client in clients and self.store.rounds[task.round].training == training
            if theirs and task.state in OPEN:
                self.set_task(key, state=TaskState.CLOSED, lease_until=None)

    def _end_live_round(self, training: Key) -> None:
        key = self.live(training)
        if key is None:
            return
        of = self.store.rounds[key]
        self.finish(key, RoundState.ABANDONED if of.version is None else RoundState.DONE)
        if of.version is not None:
            self.set_training(training, rounds_done=of.number)
        else:
            self.unfold(key)

    # What the orchestrator does.

    def advance(self, training: Key, now: datetime) -> Decision:
        decision = decide(facts(self, training, now), now)
        if isinstance(decision, Wait | Aggregate | Combine):
            return decision
        with self.change(f"rounds.{type(decision).__name__}"):
            carry_out(self, training, decision, now)
            self.hints.append(lambda: self.moved(training))
        return decision

    async def aggregate(self, training: Key) -> RoundRow | None:
        """As `Orchestrator._aggregate`. Returns the round as it was claimed."""
        job = self.claim(training, self.timeline.now)
        if job is None:
            return None
        left = self.timeline.between(0.01, self.machine.faults.slowest_mean)
        while left > 0:
            await Turn(min(left, CLAIM_SECONDS / 3))
            left -= CLAIM_SECONDS / 3
            self.renew_claim(job, self.timeline.now)
        if self.timeline.chance(self.machine.faults.trouble):
            await self._bear_with(job)
        else:
            self.commit(job, self.timeline.now)
            self.troubles.pop(training, None)
        await Turn()
        self.drop_claim(job)
        return job[2]

    async def _bear_with(self, job: Job) -> None:
        """The aggregation fails for reasons of the machine: so often it is tried again."""
        training = job[2].training
        self.troubles[training] = self.troubles.get(training, 0) + 1
        if self.troubles[training] < MAX_TROUBLES:
            await Turn(TROUBLE_SECONDS)
            return
        del self.troubles[training]
        self.give_up(job, "It failed.", self.timeline.now)

    def claim(self, training: Key, now: datetime) -> Job | None:
        with self.change("aggregation.claim"):
            key = self.live(training)
            if key is None or self.store.rounds[key].state not in (RoundState.AGGREGATING, RoundState.COMBINING):
                return None
            phase = self.phases[key]
            if phase.claimed_until is not None and phase.claimed_until > now:
                return None
            self.claims += 1
            phase.claim, phase.claimed_until = self.claims, now + timedelta(seconds=CLAIM_SECONDS)
            return key, self.claims, self.store.rounds[key]

    def renew_claim(self, job: Job, now: datetime) -> None:
        key, claim, _ = job
        with self.change("aggregation.renew_claim"):
            if self.phases[key].claim == claim:
                self.phases[key].claimed_until = now + timedelta(seconds=CLAIM_SECONDS)

    def commit(self, job: Job, now: datetime) -> None:
        key, _, of = job
        with self.change("aggregation.commit"):
            if self.store.rounds[key].state is not of.state:
                return
            if of.state is RoundState.AGGREGATING:
                version = f"{zlib.crc32(repr((of.base, of.accepted, of.folded)).encode()):08x}"
                self.set_round(key, state=RoundState.AGGREGATED, version=version)
            else:
                self.set_round(key, state=RoundState.COMBINED)
            self.phases[key].claim = self.phases[key].claimed_until = None
            self.phases[key].began_at = now
            self.hints.append(lambda: self.moved(of.training))

    def drop_claim(self, job: Job) -> None:
        key, claim, _ = job
        with self.change("aggregation.drop_claims"):
            if self.phases[key].claim == claim:
                self.phases[key].claim = self.phases[key].claimed_until = None

    def give_up(self, job: Job, reason: str, now: datetime) -> None:
        key, claim, of = job
        with self.change("rounds.give_up"):
            if self.phases[key].claim != claim:
                return
            match self.store.rounds[key].state:
                case RoundState.COMBINING:
                    self.set_round(key, state=RoundState.COMBINED)
                    self.phases[key].began_at = now
                case RoundState.AGGREGATING:
                    self.abandon(key, reason, failure=True)
            self.hints.append(lambda: self.moved(of.training))


def _digest(value: int) -> str:
    return f"{value:08x}"


def play_rounds(seed: int) -> Timeline:
    """The schedule of a seed, in memory."""
    return play(seed, _remember, world="rounds", sizes=LARGE)


def _remember(schedule: Schedule, timeline: Timeline, machine: Machine) -> Memory:
    """The world of a schedule, in memory."""
    learnings = {
        f"training {number}": Learning(plan, plan.seed or 0, [Member(client) for client in members])
        for number, (plan, members) in enumerate(zip(schedule.plans, schedule.members, strict=True))
    }
    return Memory(learnings, timeline, machine)
