"""Federations of people who have nothing to do with each other, each with everything that a right can be asked of."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from uuid import UUID

from django.contrib.auth.models import Group
from django.utils import timezone

from hansa.rounds import plan as plans
from hansa.server.accounts import services as accounts
from hansa.server.accounts.models import Answered, Invitation, Token
from hansa.server.blobs import services as blobs
from hansa.server.blobs import store
from hansa.server.lifecycle.bridge import call
from hansa.server.registry import services as registry
from hansa.server.registry.creation import NewModel
from hansa.server.registry.models import Calibration, Model, ModelKind, ModelVersion
from hansa.server.trainings.models import Task, Training
from hansa.server.trainings.services import leasing, trainings
from support.moments import moments
from support.people import MakePerson, Person
from support.work import BUFFERS, add_up, settle, small_params, start, store_model, update, upload, upload_and_report

SENT = update(2.0)
"""What the client has uploaded for its task, and not yet reported."""

RUNNING: dict[str, dict[str, object]] = {
    "training": {"rounds": 3, "keep_updates": 5},
    "swag": {"rounds": 1, "uncertainty": {"method": "swag"}},
    "chain": {"rounds": 2, "daisy_chain": {"period": 2}},
}
"""The trainings in which a first round is over, and their plans."""


@dataclass(frozen=True)
class People:
    """Who is in one federation."""

    client: Person
    """A machine: it was invited, and owns nothing."""
    peer: Person
    """Another one, in the same trainings; it is told of its tasks by notifications."""
    actor: Person
    """Steers the trainings."""
    owner: Person
    """A person without the actor's role, to whom the models belong."""

    @property
    def all(self) -> tuple[Person, ...]:
        return (self.client, self.peer, self.actor, self.owner)


@dataclass(frozen=True)
class Realm:
    """One federation."""

    people: People
    named: dict[str, str]
    """What stands in a path for each `<name>`."""
    trained: frozenset[str]
    """The ids of the models of its trainings."""
    trainings: frozenset[str]
    locals_of_client: frozenset[str]
    """The ids of the client's own local models; all are kept."""
    code: str
    """With which the invited machine enrolls."""

    @property
    def invited(self) -> str:
        """The name of a machine that the actor has invited."""
        return f"{self.people.actor.user.username}s-machine"


async def found_realm(name: str, person: MakePerson, folder: Path) -> Realm:
    """Make the people, five trainings, and what else there is."""
    people = await call(_people, name, person)
    made = await call(_trainings, people, folder)
    await call(_take_all, people)
    for name_of_running in RUNNING:
        for client, add in ((people.client, 1.0), (people.peer, 4.0)):
            task = await call(_task, client, made[name_of_running], 1)
            await upload_and_report(client, task, update(add))
    await call(_close_rounds, made)
    await call(_keep_moments, made["training"].model_id)
    await call(_take_all, people)
    await call(_keep_an_answer, people)
    await upload(people.client, await call(_task, people.client, made["training"], 2), SENT)
    return await call(_described, people, made)


def _people(name: str, person: MakePerson) -> People:
    endpoint = "http://127.0.0.1:9/"
    return People(
        client=person(f"{name}-client", client=True),
        peer=person(f"{name}-peer", client=True, message_endpoint=endpoint, email=f"peer@{name}.example"),
        actor=person(f"{name}-actor", actor=True),
        owner=with_password(person(f"{name}-owner")),
    )


def _keep_an_answer(people: People) -> None:
    kept = {"key": "once", "request": "0" * 64, "answer": "{}", "answered_at": timezone.now()}
    Answered.objects.create(user=people.actor.user, **kept)


def with_password(person: Person) -> Person:
    """A person, not a machine: somebody who could sign in with a password."""
    person.user.password = "it is not looked at"
    person.user.save()
    return person


def _trainings(people: People, folder: Path) -> dict[str, Training]:
    plans_of = {**RUNNING, "draft": {}, "paused": {}}
    made = {name: _training(people, folder, plan) for name, plan in plans_of.items()}
    for name in RUNNING:
        start(made[name])
    trainings.start(training_id=made["paused"].id, now=timezone.now())
    trainings.pause(training_id=made["paused"].id)
    return made


def _training(people: People, folder: Path, plan: dict[str, object]) -> Training:
    """The owner's model in a training of the actor's, which a superuser may have arranged."""
    model = store_model(people.owner, small_params(), BUFFERS, folder)
    with store.BlobFile() as blob:
        blob.write(b"a pipeline")
        digests = blob.finish()
        store.place(blob.path, digests.sha256)
    registry.set_preprocessing(model_id=model.id, digests=digests, now=timezone.now())
    return trainings.create(
        actor=people.actor.user,
        model=Model.objects.get(id=model.id),
        plan=plans.parse({"rounds": 1, "seed": 5, "evaluation": {"every": 0}, **plan}),
        clients=[people.client.user, people.peer.user],
        name="",
        now=timezone.now(),
    )


def _take_all(people: People) -> None:
    """Both machines lease whatever is on offer, each task by a process of its own."""
    for client in (people.client, people.peer):
        for number in count():
            if leasing.lease_next(user_id=client.user.id, instance=f"{number}", now=timezone.now()) is None:
                break


def _close_rounds(made: Mapping[str, Training]) -> None:
    for name in RUNNING:
        settle(made[name])
    for name in ("training", "swag"):
        add_up(made[name])


def _keep_moments(model_id: UUID) -> None:
    """Of its newest version, as if that had been made with SWAG; and as if its clients had calibrated it."""
    with store.BlobFile() as blob:
        blob.write(moments().content)
        digests = blob.finish()
        store.place(blob.path, digests.sha256)
    row = blobs.record(digests=digests, media_type=blobs.SAFETENSORS, now=timezone.now())
    version = ModelVersion.objects.get(model_id=model_id, number=1)
    ModelVersion.objects.filter(id=version.id).update(moments=row)
    Calibration.objects.create(version=version, temperature=1.5, examples=9, clients=1)


def _task(client: Person, training: Training, number: int, kind: str = "train") -> Task:
    rows = Task.objects.filter(kind=kind, round__training=training, round__number=number)
    return rows.select_related("source").get(participation__client=client.user)


def _described(people: People, made: dict[str, Training]) -> Realm:
    client, peer, training, swag, chain = people.client, people.peer, made["training"], made["swag"], made["chain"]
    group = Group.objects.create(name=f"{people.actor.user.username}s-friends")
    group.user_set.add(*(person.user for person in (client, people.actor, people.owner)))
    mean = _mean_of(people.owner, swag.model)
    invited = f"{people.actor.user.username}s-machine"
    invitation = accounts.invite(actor=people.actor.user, username=invited, expires_in_seconds=60.0, now=timezone.now())
    next_in_chain = _task(client, chain, 2)
    assert next_in_chain.source is not None, "the chain has not come to its second round"
    assert next_in_chain.source.task.participation.client_id == peer.user.id, "take another seed: it got its own"
    locals_of_client = {name: str(_task(client, made[name], 1).id) for name in RUNNING}
    return Realm(
        people=people,
        named={
            **{name: str(made[name].id) for name in ("training", "draft", "paused", "chain")},
            "model": str(training.model_id),
            "idle": str(made["draft"].model_id),
            "swag": str(swag.model_id),
            "mean": str(mean.id),
            "local": locals_of_client["training"],
            "swag-local": locals_of_client["swag"],
            "chain-model": str(chain.model_id),
            "chain-local": locals_of_client["chain"],
            "peers": str(_task(peer, training, 1).id),
            "dealt": str(next_in_chain.source.task_id),
            "task": str(_task(client, training, 2).id),
            "peers-task": str(_task(peer, training, 2).id),
            "digest": SENT.digest,
            "version": "1",
            "round": "1",
            "user": peer.id,
            "group": str(group.id),
            "invitation": str(Invitation.objects.get(user__username=invited).id),
            "token": str(Token.objects.get(user=client.user).id),
        },
        trained=frozenset(str(each.model_id) for each in made.values()),
        trainings=frozenset(str(each.id) for each in made.values()),
        locals_of_client=frozenset(locals_of_client.values()),
        code=invitation.code,
    )


def _mean_of(owner: Person, *members: Model) -> Model:
    said = NewModel(name="mean", kind=ModelKind.MEAN, members=tuple(member.id for member in members))
    return registry.create_mean(owner=owner.user, said=said, now=timezone.now())
