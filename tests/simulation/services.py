"""The services of the server on a real database and a real store, with the time handed in.

Every identity is drawn from the schedule's own generator, so that rows are ordered the same in every run.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from hansa.core import sampling
from hansa.protocol.calibration import CalibrationReport, Sketch
from hansa.protocol.tasks import TaskKind, TaskReport
from hansa.rounds import plan as plans
from hansa.rounds.decisions import Decision
from hansa.rounds.states import TrainingStatus
from hansa.server.accounts import presence
from hansa.server.accounts.models import User
from hansa.server.blobs import services as blobs
from hansa.server.blobs import store
from hansa.server.blobs.models import Blob
from hansa.server.lifecycle.bridge import call, read, work
from hansa.server.lifecycle.errors import ServiceError
from hansa.server.lifecycle.shared import share
from hansa.server.registry.models import Model, ModelVersion, spec_as_json
from hansa.server.trainings import assignments, attendance, handout, housekeeping, mending, uploads
from hansa.server.trainings.models import Round, Task
from hansa.server.trainings.orchestrator import Orchestrator
from hansa.server.trainings.services import aggregation, rounds, tasks, trainings
from hansa.server.trainings.services.leasing import Ask
from hansa.uncertainty.sketches import Grid
from simulation import older
from simulation.contents import SPEC, content_of, digests_of, mean_file
from simulation.coroutines import Activity, Course, Locks, finish, left_undone
from simulation.network import Network
from simulation.process import Assignment, Chore, Receiver
from simulation.reading import read_rows
from simulation.rows import Key, Refused, Rows
from simulation.schedules import Schedule
from simulation.surroundings import Surroundings
from simulation.timeline import START

GRACE = timedelta(seconds=10)
FOR_EVER = datetime(9999, 1, 1, tzinfo=UTC)


class Services:
    """The `Service` that is real."""

    def __init__(self, schedule: Schedule, around: Surroundings, users: Sequence[User], actor: User) -> None:
        self.moved: Callable[[Key], None] = lambda training: None
        self.offered: Callable[[int], None] = lambda client: None
        self.begun: Callable[[str, Course], Activity] = left_undone
        self.users, self.around = users, around
        self.contents: dict[str, bytes] = {}
        """All that was ever in the store, by its digest."""
        self.harmed: set[str] = set()
        """What the disk has damaged."""
        self._schedule = schedule
        self._numbers = {user.id: number for number, user in enumerate(users)}
        self._rows: Rows | None = None
        self._verified: set[str] = set()
        self._kinds: dict[Key, TaskKind] = {}
        """Of the tasks that were handed out."""
        self._sending = Locks()
        self._orchestrator = Orchestrator()
        self._post = older.Post(around.timeline)
        self._deliverer = older.deliverer_of(self._post)
        for client in schedule.push:
            User.objects.filter(id=users[client].id).update(message_endpoint=older.endpoint_of(client))
        self.trainings = [
            self._make(actor, [users[client] for client in members], plan)
            for plan, members in zip(schedule.plans, schedule.members, strict=True)
        ]

    def _make(self, actor: User, clients: Sequence[User], plan: plans.Plan) -> Key:
        digests = digests_of(content_of(0))
        file = store.new_file()
        file.write_bytes(content_of(0))
        store.place(file, digests.sha256)
        blob = blobs.record(digests=digests, media_type=blobs.SAFETENSORS, now=START)
        model = Model.objects.create(owner=actor, name="small", spec=spec_as_json(SPEC), created_at=START)
        ModelVersion.objects.create(model=model, number=0, blob=blob, created_at=START)
        made = trainings.create(actor=actor, model=model, plan=plan, clients=clients, name="", now=START)
        trainings.start(training_id=made.id, now=START)
        return str(made.id)

    # What clients do.

    async def ask(self, client: int, instance: str, now: datetime) -> Assignment | None:
        """As `NextTask`, to whom nobody is kept waiting."""
        user = self.users[client].id
        await attendance.arrived(user, now)
        told = await handout.task_for(Ask(user, instance))
        if told is None:
            return None
        self._kinds[told.id] = told.kind
        return Assignment(told.id, told.kind, told.training, told.round, told.ordinal, told.seed, told.digest)

    async def renew(self, client: int, task: Key, now: datetime) -> str:
        user = self.users[client].id
        with refusals():
            return await share(tasks.renew, task_id=UUID(task), user_id=user, now=now, progress=None)

    async def upload(self, client: int, task: Key, value: int, now: datetime) -> None:
        """As `TaskUpdate.put`. One at a time for a task: there a second one ends the first."""
        content = content_of(value)
        with refusals():
            async with self._sending.of(task):
                target = await read(assignments.upload_target, self.users[client], UUID(task))
                tasks.require_open(target.task)
                place = uploads.Placement(target, digests_of(content).sha256, 0, len(content))
                if await work(uploads.held, target, place.digest) == uploads.stored(target, place.digest):
                    return
                self.contents[place.digest] = content
                await uploads._keep(place, *await work(uploads._put_and_approve, place, bytearray(content)))

    async def report(self, client: int, task: Key, value: int | None, examples: int, now: datetime) -> str:
        digest = None if value is None else digests_of(content_of(value)).sha256
        scores = _scores(examples) if self._kinds.get(task) is TaskKind.CALIBRATE else None
        said = TaskReport(num_examples=examples, digest=digest, calibration=scores)
        user = self.users[client].id
        with refusals():
            receipt = await share(tasks.report, task_id=UUID(task), user_id=user, report=said, now=now)
        return receipt.digest or ""

    async def give_back(self, client: int, task: Key, *, failed: bool, now: datetime) -> None:
        user, why = self.users[client].id, "it broke"
        with refusals():
            await call(tasks.give_back, task_id=UUID(task), user_id=user, reason=why, failed=failed)

    def connect(self, network: Network, told: Mapping[int, Receiver]) -> None:
        self._post.network = network
        self._post.receivers = {older.endpoint_of(client): receiver for client, receiver in told.items()}

    async def send_result(self, client: int, kind: TaskKind, body: dict[str, Any], value: int) -> tuple[Key, str]:
        """Returns the task that it is the result of, and its digest; no task for an evaluation."""
        user, public_id = self.users[client], UUID(body["global_model_uuid"])
        with refusals():
            if kind is TaskKind.EVALUATE:
                await older.post_metrics(user, public_id)
                return "", ""
            content = content_of(value)
            self.contents[digests_of(content).sha256] = content
            return await older.send_result(user, public_id, kind, body["round"], value)

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

    def aggregate(self, training: Key) -> Course:
        return self._orchestrator._aggregate(UUID(training))

    def chores(self) -> Sequence[Chore]:
        collects = Chore("", 15 * self._schedule.faults.sweep, housekeeping._collect)
        looks = Chore("", mending.SWEEP_SECONDS, mending._sweep)
        tells = Chore("", 0.1, partial(older.deliver, self._deliverer))
        return [collects, *([looks] if self._schedule.damages else []), *([tells] if self._schedule.push else [])]

    def forget_memory(self) -> None:
        presence.forget()
        self._sending.forget()
        self.around.forget()
        self._post.forget()
        self._orchestrator, self._deliverer = Orchestrator(), older.deliverer_of(self._post)

    # What is looked at.

    def participants(self, training: Key) -> set[int]:
        """Those who may be selected."""
        there = attendance.selectable().filter(training=training)
        return {self._numbers[client] for client in there.values_list("client_id", flat=True)}

    def passed(self, point: str) -> None:
        """Somewhere rows have changed, or are about to."""
        self._rows = None
        self.around.machine.passed(point)

    def rows(self) -> Rows:
        if self._rows is None:
            self._rows = read_rows()
            self._verify(self._rows)
        return self._rows

    def _verify(self, rows: Rows) -> None:
        """Each new version, and its moments, are bit for bit the mean of what was accepted."""
        for row in rows.rounds.values():
            if row.version is not None and (of := f"{row.version} {row.accepted} {row.folded}") not in self._verified:
                self._verified.add(of)
                self._verify_mean(row.version, [*(row.accepted or ()), *(row.folded or ())], f"version {row.number}")
            if row.averaged is not None and (of := f"{row.averaged} {row.moments}") not in self._verified:
                self._verified.add(of)
                self._verify_mean(row.averaged, row.moments or (), f"what version {row.number} has for moments")

    def _verify_mean(self, digest: str, entries: Sequence[tuple[Any, ...]], what: str) -> None:  # Any: of a list's line
        expected = mean_file([(self.contents[entry[1]], entry[2]) for entry in entries])
        assert digests_of(expected).sha256 == digest, f"{what} is not the mean"
        self.contents[digest] = expected

    @staticmethod
    def digest_of(content: bytes) -> str:
        """As receipts have it."""
        return digests_of(content).sha256

    @staticmethod
    def holder_of(task: Key) -> str:
        """The instance that leased it last."""
        return Task.objects.values_list("instance", flat=True).get(id=task)

    # What the disk does.

    def harm(self) -> str:
        """A file of the store is damaged, or gone; its digest, if there is any."""
        files = sorted(path for path in store.files() if path.name in self.contents)
        if not files:
            return ""
        path = self.around.timeline.random.choice(files)
        content = self.contents[path.name]
        match self.around.timeline.random.choice(["flipped", "cut off", "gone"]):
            case "flipped":
                path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
            case "cut off":
                path.write_bytes(content[:-1])
            case "gone":
                path.unlink()
        self.harmed.add(path.name)
        return path.name

    def put_back(self) -> None:
        """A person has a backup of every version."""
        for digest in ModelVersion.objects.filter(blob__in=self.harmed).values_list("blob_id", flat=True):
            path = store.path_of(digest)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.contents[digest])

    # What must hold in the end.

    def check_end(self, now: datetime) -> None:
        """No row is without its file and no file without its row, nothing is kept for nothing, versions are numbered
        one by one, and every cohort can be selected again.
        """
        self.around.forget()  # the process has ended: whoever was amid something holds no file any more
        finish(blobs.collect(before=now + 2 * GRACE))
        finish(blobs.collect_strays(before=FOR_EVER))
        known = set(Blob.objects.values_list("sha256", flat=True))
        files = {path.name for path in store.files()}
        assert files <= known, f"files without their rows: {files - known}"
        assert known - self.harmed <= files, f"blobs without their files: {known - self.harmed - files}"
        ended = TrainingStatus.COMPLETED.value
        kept = Task.objects.filter(round__training__status=ended, uploaded__isnull=False).count()
        assert not kept, f"{kept} updates are kept though their training is completed"
        for model in Model.objects.all():
            numbers = list(model.versions.filter(lost="").order_by("number").values_list("number", flat=True))
            assert numbers == [*range(len(numbers))], f"the versions are numbered {numbers}"
        for of in Round.objects.exclude(selection=None):
            asked = of.tasks.filter(kind=TaskKind.TRAIN.value).values_list("participation__ordinal", flat=True)
            assert sampling.replay(of.selection) == sorted(asked), f"{of.selection} does not select {list(asked)}"

    def begin_beside(self, what: str, course: Course) -> Activity:
        """Of whatever process there is by then."""
        return self.begun(what, course)

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


def _scores(examples: int) -> CalibrationReport:
    """What a client tells of the version's calibration: all in one cell."""
    return CalibrationReport(scores=Sketch(grid=Grid.UNIT.value, cells=[examples], counts=[examples]))
