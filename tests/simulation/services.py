"""The services of the server on a real database, with the time handed in; files are kept in memory.

Every identity is drawn from the schedule's own generator, so that rows are ordered the same in every run.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from random import Random
from typing import Any
from unittest.mock import patch
from uuid import UUID

import numpy as np
from django.db import connection, transaction

from hansa.core import sampling
from hansa.core.mean import weighted_mean
from hansa.core.params import ArraySpec, Kind, ParamSpec
from hansa.crashpoints import observed
from hansa.protocol.tasks import TaskKind, TaskReport
from hansa.rounds import plan as plans
from hansa.rounds.decisions import Decision
from hansa.rounds.states import TrainingStatus
from hansa.server.accounts import presence
from hansa.server.accounts.models import User
from hansa.server.blobs import services as blobs
from hansa.server.blobs.digests import Digester, Digests
from hansa.server.blobs.models import Blob
from hansa.server.lifecycle.errors import ServiceError
from hansa.server.notifications.models import Notification
from hansa.server.registry.models import Metric, Model, ModelVersion, spec_as_json
from hansa.server.trainings import assignments, attendance
from hansa.server.trainings.hints import HINTS
from hansa.server.trainings.models import Participation, Round, Task, Training, Update
from hansa.server.trainings.services import aggregation, leasing, rounds, tasks, trainings
from hansa.server.trainings.services.aggregation import Job
from hansa.server.trainings.services.leasing import Ask
from simulation.process import Assignment, Refused
from simulation.reading import read_rows
from simulation.reference import mean_of
from simulation.rows import Key, Rows
from simulation.schedules import SMALL, Crashes, Schedule, play
from simulation.timeline import START, Timeline

GRACE = timedelta(seconds=10)
SPEC = ParamSpec((ArraySpec("weight", "float32", (3,), Kind.PARAM),))
TABLES = (Update, Task, Round, Participation, Training, Metric, ModelVersion, Model, Notification, Blob)
MAX_CLIENTS = 8


class Services:
    """The `Service` that is real."""

    def __init__(self, schedule: Schedule, crashes: Crashes, users: Sequence[User], actor: User) -> None:
        self.moved: Callable[[Key], None] = lambda training: None
        self.offered: Callable[[int], None] = lambda client: None
        self.disk: dict[str, bytes] = {}
        self.users, self._crashes = users, crashes
        self._numbers = {user.id: number for number, user in enumerate(users)}
        self._rows: Rows | None = None
        self._verified: set[Key] = set()
        self.trainings = [
            self._make(actor, [users[client] for client in members], plan)
            for plan, members in zip(schedule.plans, schedule.members, strict=True)
        ]

    def _make(self, actor: User, clients: Sequence[User], plan: plans.Plan) -> Key:
        blob = blobs.record(digests=self._write(bytes(12)), media_type=blobs.SAFETENSORS, now=START)
        model = Model.objects.create(owner=actor, name="small", spec=spec_as_json(SPEC), created_at=START)
        ModelVersion.objects.create(model=model, number=0, blob=blob, created_at=START)
        made = trainings.create(actor=actor, model=model, plan=plan, clients=clients, name="", now=START)
        trainings.start(training_id=made.id, now=START)
        return str(made.id)

    # What clients do.

    def ask(self, client: int, instance: str, now: datetime) -> Assignment | None:
        user = self.users[client].id
        self._arrived(user, now)
        asks = [Ask(user, instance)]
        if not all(leasing.have_work(asks)):
            return None
        (leased,) = leasing.lease(asks, now=now)
        if leased is None:
            return None
        (told,) = assignments.messages([leased])
        return Assignment(told.id, told.kind, told.training, told.round, told.ordinal, told.seed, told.digest)

    @staticmethod
    def _arrived(user: UUID, now: datetime) -> None:
        """As `attendance.arrived`, which is awaited."""
        known = attendance._asks(user, now)
        presence.saw(user, now)
        if not known:
            for training in attendance._waiting_for(user):
                HINTS.moved(training)

    def renew(self, client: int, task: Key, now: datetime) -> str:
        with refusals():
            return tasks.renew(task_id=UUID(task), user_id=self.users[client].id, now=now)

    def upload(self, client: int, task: Key, value: int, now: datetime) -> None:
        with refusals(), self._placed(content_of(value)) as digests:
            tasks.record_upload(task_id=UUID(task), user_id=self.users[client].id, digests=digests, norm=1.0, now=now)

    def report(self, client: int, task: Key, value: int | None, examples: int, now: datetime) -> str:
        digest = None if value is None else _digests(content_of(value)).sha256
        said = TaskReport(num_examples=examples, digest=digest)
        with refusals():
            receipt = tasks.report(task_id=UUID(task), user_id=self.users[client].id, report=said, now=now)
        return receipt.digest or ""

    def give_back(self, client: int, task: Key, *, failed: bool, now: datetime) -> None:
        with refusals():
            tasks.give_back(task_id=UUID(task), user_id=self.users[client].id, reason="it broke", failed=failed)

    # What the actor does.

    def steer(self, training: Key, what: str, clients: Sequence[int], now: datetime) -> None:
        of, users = UUID(training), [self.users[client] for client in clients]
        with refusals():
            match what:
                case "pause":
                    trainings.pause(training_id=of)
                case "resume":
                    trainings.resume(training_id=of, now=now)
                case "cancel":
                    trainings.cancel(training_id=of, now=now)
                case "add_clients":
                    trainings.add_clients(training_id=of, clients=users)
                case "leave":
                    trainings.leave(training_id=of, client=users[0])
                case "remove_clients":
                    trainings.remove_clients(training_id=of, clients=users)

    # What the orchestrator does.

    def begin(self, now: datetime) -> None:
        tasks.forgive_downtime(now=now)
        aggregation.drop_claims()

    def advance(self, training: Key, now: datetime) -> Decision:
        return rounds.advance(training_id=UUID(training), now=now)

    def claim(self, training: Key, now: datetime) -> Job | None:
        return aggregation.claim(training_id=UUID(training), now=now)

    def renew_claim(self, job: Job, now: datetime) -> None:
        aggregation.renew_claim(round_id=job.round_id, claim=job.claim, now=now)

    def commit(self, job: Job, now: datetime) -> None:
        values = [np.frombuffer(self.disk[each.digest], "<f4") for each in job.updates]
        mean = np.empty(3, "<f4")
        weighted_mean(values, [each.weight for each in job.updates], mean)
        with self._placed(mean.tobytes()) as digests:
            aggregation.commit(job=job, digests=digests, now=now)

    def drop_claim(self, job: Job) -> None:
        aggregation.drop_claims(claim=job.claim)

    def give_up(self, job: Job, reason: str, now: datetime) -> None:
        rounds.give_up(training_id=job.training_id, claim=job.claim, reason=reason, now=now)

    def keep_house(self, now: datetime) -> None:
        """As `blobs.services.collect`: the row first, then the file."""
        for digest in blobs.unreferenced(before=now - GRACE).order_by("sha256").values_list("sha256", flat=True):
            if blobs.forget(digest=digest, before=now - GRACE):
                self.disk.pop(digest, None)

    def forget_memory(self) -> None:
        presence._seen.clear()

    # What is looked at.

    def participants(self, training: Key) -> set[int]:
        """Those who may be selected."""
        there = attendance.selectable().filter(training=training)
        return {self._numbers[client] for client in there.values_list("client_id", flat=True)}

    def passed(self, point: str) -> None:
        """Somewhere rows have changed, or are about to."""
        self._rows = None
        self._crashes.passed(point)

    def rows(self) -> Rows:
        if self._rows is None:
            self._rows = read_rows()
            self._verify(self._rows)
        return self._rows

    def _verify(self, rows: Rows) -> None:
        """Each new version is, bit for bit, the mean of what was accepted; no row is without its file."""
        for key, row in rows.rounds.items():
            if row.version is not None and key not in self._verified:
                self._verified.add(key)
                entries = [*(row.accepted or ()), *(row.folded or ())]
                expected = mean_of([(self.disk[entry[1]], entry[2]) for entry in entries])
                assert self.disk[row.version] == expected, f"version of round {row.number} is not the mean"

    @contextmanager
    def _placed(self, content: bytes) -> Iterator[Digests]:
        """As `blobs.services.keep`: the file first, then the row that refers to it; a refused file is removed."""
        digests = self._write(content)
        self.passed("blobs.placed")
        try:
            yield digests
        except Exception:
            if not Blob.objects.filter(sha256=digests.sha256).exists():
                self.disk.pop(digests.sha256, None)
            raise

    @staticmethod
    def digest_of(content: bytes) -> str:
        """As receipts have it."""
        return _digests(content).sha256

    @staticmethod
    def holder_of(task: Key) -> str:
        """The instance that leased it last."""
        return Task.objects.values_list("instance", flat=True).get(id=task)

    def _write(self, content: bytes) -> Digests:
        digests = _digests(content)
        self.disk[digests.sha256] = content
        return digests

    def check_end(self, now: datetime) -> None:
        """No row is without its file, nothing is kept for nothing, and every cohort can be selected again."""
        self.keep_house(now + 2 * GRACE)
        known = set(Blob.objects.values_list("sha256", flat=True))
        assert known <= self.disk.keys(), f"blobs without their files: {known - self.disk.keys()}"
        ended = TrainingStatus.COMPLETED.value
        kept = Task.objects.filter(round__training__status=ended, uploaded__isnull=False).count()
        assert not kept, f"{kept} updates are kept though their training is completed"
        for of in Round.objects.exclude(selection=None):
            asked = of.tasks.filter(kind=TaskKind.TRAIN.value).values_list("participation__ordinal", flat=True)
            assert sampling.replay(of.selection) == sorted(asked), f"{of.selection} does not select {list(asked)}"

    def hear_moved(self, training: UUID) -> None:
        self.moved(str(training))

    def hear_offered(self, clients: Any) -> None:  # Any: ids
        for client in clients:
            if client in self._numbers:
                self.offered(self._numbers[client])


@contextmanager
def refusals() -> Iterator[None]:
    """What the API would answer as an error."""
    try:
        yield
    except ServiceError as error:
        raise Refused(str(error.code), error.detail) from error


def content_of(value: int) -> bytes:
    """An update, as bytes."""
    return np.array([value % 97 / 7, value % 1013 / 13, value / 2**16], "<f4").tobytes()


def _digests(content: bytes) -> Digests:
    digester = Digester()
    digester.update(content)
    return digester.digests()


@contextmanager
def identities(seed: int) -> Iterator[None]:
    """Every UUID is drawn from a generator of its own, the same in every run."""
    source = Random(f"identities {seed}")  # noqa: S311  # repeatable, not secret
    with patch("os.urandom", source.randbytes):
        yield


class Realm:
    """The people of all schedules, on one database that is emptied in between."""

    def __init__(self) -> None:
        ids = Random("people")  # noqa: S311  # as above
        people = [User(id=UUID(bytes=ids.randbytes(16)), username=f"client-{n}") for n in range(MAX_CLIENTS)]
        self.actor = User(id=UUID(bytes=ids.randbytes(16)), username="actor", actor=True)
        self.clients = User.objects.bulk_create(people)
        self.actor.save(force_insert=True)

    def play(self, seed: int) -> Timeline:
        """The schedule of a seed, on an empty database."""
        self.empty()
        self._services: Services | None = None
        with identities(seed), patch.object(HINTS, "moved"), patch.object(HINTS, "tasks_offered"), observed(self._pass):
            return play(seed, self._make, world="services", sizes=SMALL)

    def _make(self, schedule: Schedule, timeline: Timeline, crashes: Crashes) -> Services:
        made = Services(schedule, crashes, self.clients, self.actor)
        self._services = made
        HINTS.moved, HINTS.tasks_offered = made.hear_moved, made.hear_offered  # type: ignore[method-assign]  # patched
        return made

    def _pass(self, point: str) -> None:
        if self._services is not None:  # while its rows are being made nothing dies
            self._services.passed(point)

    @staticmethod
    def empty() -> None:
        """Delete all that a schedule may have left."""
        presence._seen.clear()
        with transaction.atomic(), connection.cursor() as cursor:
            for table in TABLES:
                cursor.execute(f"DELETE FROM {table._meta.db_table}")  # noqa: S608  # names of our own
