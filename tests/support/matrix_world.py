"""Who asks, what is sent so that it would succeed for whoever may, and in one word what comes back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx
import torch

from support.matrix import Row
from support.older import Small, pickled, scripted
from support.people import Person
from support.realm import SENT, Realm
from support.work import report_of

Body = dict[str, Any]  # Any: keyword arguments of httpx
Answer = Any  # Any: JSON
RECORD = {"id", "username", "first_name", "last_name", "email", "actor", "client", "message_endpoint"}
SUMMARY = {"id", "username", "first_name", "last_name"}
WEIGHTS = 9
QUESTIONED = ("model", "mean", "local", "peers", "dealt")


@dataclass(frozen=True)
class World:
    """Two federations, and those who ask: people of the first one, and three who belong to none."""

    own: Realm
    foreign: Realm
    stranger: Person
    staff: Person
    root: Person
    anonymous: httpx.AsyncClient

    tokens: Mapping[str, str]
    """The id of each caller's token, by user id."""

    def named(self, realm: Realm, role: str) -> dict[str, str]:
        """What stands in a path for each `<name>`; where nobody asks, the participant's own."""
        caller = self.caller(role)
        user_id = caller.id if isinstance(caller, Person) else self.own.people.client.id
        return {**realm.named, "me": user_id, "my-token": self.tokens[user_id]}

    def caller(self, role: str) -> httpx.AsyncClient:
        """Who has the role."""
        people = self.own.people
        others: dict[str, httpx.AsyncClient] = {
            "anonymous": self.anonymous,
            "stranger": self.stranger,
            "staff": self.staff,
            "root": self.root,
        }
        members = {"participant": people.client, "actor": people.actor, "owner": people.owner}
        return {**others, **members}[role]

    @property
    def usernames(self) -> set[str]:
        """Of all accounts there are."""
        members = [person for realm in (self.own, self.foreign) for person in realm.people.all]
        accounts = [*members, self.stranger, self.staff, self.root]
        return {person.user.username for person in accounts} | {self.own.invited, self.foreign.invited}

    @property
    def clients(self) -> set[str]:
        """The user names of those that are marked as clients."""
        machines = {self.own.invited, self.foreign.invited, self.stranger.user.username}
        for realm in (self.own, self.foreign):
            machines |= {realm.people.client.user.username, realm.people.peer.user.username}
        return machines


@cache
def _script() -> bytes:
    return scripted(Small(7.0))


@cache
def _moments() -> tuple[bytes, bytes]:
    first = torch.arange(WEIGHTS, dtype=torch.float32)
    return pickled(first), pickled(first**2 + 1)


def body_for(row: Row, world: World, realm: Realm) -> Body:
    """What is sent: a valid request; where an object is named in it, one of `realm`."""
    bodies = {**_of_accounts(realm), **_of_models(realm), **_of_trainings(world, realm), **_of_tasks()}
    return bodies.get(row.label, {})


def _of_accounts(realm: Realm) -> dict[str, Body]:
    password = "Lübeck 1143, am Wasser"
    return {
        "POST users/": {"json": {"username": "newcomer", "password": password}},
        "POST groups/": {"json": {"name": "newly founded"}},
        "PUT groups/<group>/": {"json": {"name": "renamed"}},
        "PATCH groups/<group>/": {"json": {"name": "renamed"}},
        "POST clients/invitations/ new": {"json": {"username": "new-machine"}},
        "POST clients/invitations/ again": {"json": {"username": realm.invited}},
        "POST clients/enroll/": {"json": {"code": realm.code}},
    }


def _question(model_id: str) -> Body:
    return {"json": {"model_id": model_id, "model_input": [[1.0, 2.0]]}}


def _of_models(realm: Realm) -> dict[str, Body]:
    update = {"data": {"round": "1", "sample_size": "10"}, "files": {"model_file": ("m", _script())}}
    first, second = _moments()
    moments = {
        "data": {"round": "1", "sample_size": "10"},
        "files": {"first_moment_file": ("1", first), "second_moment_file": ("2", second)},
    }
    pipeline = {"files": {"model_preprocessing_file": ("p", _script())}}
    metrics = {"data": {"metric_names": ["loss", "accuracy"], "metric_values": ["0.5", "0.9"]}}
    mean = {"name": "mean", "type": "MEAN", "models": [realm.named["model"], realm.named["idle"]]}
    return {
        "POST models/ file": {"data": {"name": "new"}, "files": {"model_file": ("m", _script())}},
        "POST models/ mean": {"json": mean},
        **{f"POST inference/ {name}": _question(realm.named[name]) for name in QUESTIONED},
        **{f"POST models/<{name}>/": update for name in ("model", "local", "peers", "dealt")},
        **{f"POST models/<{name}>/swag/": moments for name in ("swag", "swag-local")},
        **{f"POST models/<{name}>/metrics/": metrics for name in ("model", "local", "peers", "dealt")},
        **{f"POST models/<{name}>/preprocessing/": pipeline for name in ("model", "local", "peers", "dealt")},
    }


def _of_trainings(world: World, realm: Realm) -> dict[str, Body]:
    short = {"target_num_updates": 2, "metric_names": [], "aggregation_method": "FedAvg"}
    model = {"model_id": realm.named["model"], "clients": [world.stranger.id]}
    machine = {"clients": [world.foreign.people.peer.id]}
    return {
        "POST trainings/ plan": {"json": {**model, "plan": {"rounds": 2}}},
        "POST trainings/ short": {"json": {**model, **short}},
        "POST trainings/ machine": {"json": {**model, "plan": {"rounds": 2}, **machine}},
        "PUT trainings/<training>/clients/ person": {"json": {"clients": [world.stranger.id]}},
        "PUT trainings/<training>/clients/ machine": {"json": machine},
        "DELETE trainings/<training>/clients/": {"json": {"clients": [realm.people.peer.id]}},
    }


def _of_tasks() -> dict[str, Body]:
    report, release = report_of(SENT), {"reason": "no time"}
    of_one_task = {
        "PUT {}update/<digest>/": {"content": SENT.content},
        "POST {}report/": {"json": report},
        "POST {}release/": {"json": release},
    }
    paths = ("tasks/<task>/", "tasks/<peers-task>/")
    named = {label.format(path): body for path in paths for label, body in of_one_task.items()}
    return {"POST tasks/next/": {"json": {"instance": "0"}}, **named}


# What comes back, in one word


def word_for(row: Row, answer: Answer, world: World, realm: Realm, caller: Person) -> str:
    """What the answer holds. Where no word of the row's fits, what was seen instead."""
    words, seen = _READERS[row.label](answer, world, realm, caller)
    return next((word for word, wanted in words.items() if wanted == seen), f"200 {sorted(map(str, seen))}")


Reader = Callable[[Answer, World, Realm, Person], tuple[Mapping[str, object], Any]]
"""Which words there are and what each means, and what was seen of that."""


def _ids(answer: Answer) -> set[str]:
    return {str(each["id"]) for each in answer}


def _users(answer: Answer, world: World, realm: Realm, caller: Person) -> tuple[Mapping[str, object], Any]:
    shown = {(each["username"], frozenset(each)) for each in answer}
    full, brief = frozenset(RECORD), frozenset(SUMMARY)
    myself = caller.user.username
    return {
        "brief": {(name, full if name == myself else brief) for name in world.usernames},
        "full": {(name, full) for name in world.usernames},
    }, shown


def _user(answer: Answer, world: World, realm: Realm, caller: Person) -> tuple[Mapping[str, object], Any]:
    words = {"brief": SUMMARY, "full": RECORD, "token": RECORD | {"token", caller.token}}
    return words, set(answer) | ({answer["token"]} if "token" in answer else set())


def _myself(answer: Answer, world: World, realm: Realm, caller: Person) -> tuple[Mapping[str, object], Any]:
    return {"me": RECORD | {caller.id}}, set(answer) | {answer["id"]}


def _groups(answer: Answer, world: World, realm: Realm, caller: Person) -> tuple[Mapping[str, object], Any]:
    ours, theirs = world.own.named["group"], world.foreign.named["group"]
    return {"none": set(), "own": {ours}, "all": {ours, theirs}}, _ids(answer)


def _tokens(answer: Answer, world: World, realm: Realm, caller: Person) -> tuple[Mapping[str, object], Any]:
    return {"own": {("test", False)}}, {(each["name"], "token" in each) for each in answer}


def _clients(answer: Answer, world: World, realm: Realm, caller: Person) -> tuple[Mapping[str, object], Any]:
    own = {realm.people.client.user.username, realm.people.peer.user.username, realm.invited}
    return {"all": world.clients, "own": own, "none": set()}, {each["username"] for each in answer}


def _invited(answer: Answer, world: World, realm: Realm, caller: Person) -> tuple[Mapping[str, object], Any]:
    own = {world.own.named["invitation"]}
    return {"all": own | {world.foreign.named["invitation"]}, "own": own, "none": set()}, _ids(answer)


def _models(answer: Answer, world: World, realm: Realm, caller: Person) -> tuple[Mapping[str, object], Any]:
    ours, means = world.own, {world.own.named["mean"]}
    everything = ours.trained | world.foreign.trained | means | {world.foreign.named["mean"]}
    return {
        "none": set(),
        "train": ours.trained,
        "local": ours.trained | ours.locals_of_client,
        "mean": ours.trained | means,
        "all": everything,
    }, _ids(answer)


def _trainings(answer: Answer, world: World, realm: Realm, caller: Person) -> tuple[Mapping[str, object], Any]:
    ours = world.own.trainings
    return {"none": set(), "own": ours, "all": ours | world.foreign.trainings}, _ids(answer)


def _reporters(answer: Answer, world: World, realm: Realm, caller: Person) -> tuple[Mapping[str, object], Any]:
    everybody = {realm.people.client.id, realm.people.peer.id}
    return {"none": set(), "own": {caller.id}, "all": everybody}, {each["reporter"] for each in answer}


def _came_with(name: str) -> Reader:
    def read(answer: Answer, world: World, realm: Realm, caller: Person) -> tuple[Mapping[str, object], Any]:
        author = realm.people.client if name == "local" else realm.people.peer
        its = {(author.id, realm.named[name])}
        return {"none": set(), "its": its}, {(each["reporter"], each["model"]) for each in answer}

    return read


def _of_training(model: str, own: str, others: str) -> Reader:
    def read(answer: Answer, world: World, realm: Realm, caller: Person) -> tuple[Mapping[str, object], Any]:
        mine = {realm.named[model], realm.named[own]}
        return {"own": mine, "all": mine | {realm.named[others]}}, _ids(answer)

    return read


def _told_of(answer: Answer, world: World, realm: Realm, caller: Person) -> tuple[Mapping[str, object], Any]:
    everybody = {realm.people.client.id, realm.people.peer.id}
    private = {each["client"] for each in answer["tasks"] if each["digest"] or each["metrics"] or each["num_examples"]}
    assert {each["client"] for each in answer["tasks"]} == everybody
    return {"own": {caller.id}, "all": everybody}, private


def _happened_to(answer: Answer, world: World, realm: Realm, caller: Person) -> tuple[Mapping[str, object], Any]:
    everybody = {realm.people.client.id, realm.people.peer.id}
    return {"own": {caller.id}, "all": everybody}, {each["client"] for each in answer["events"]} - {None}


_READERS: dict[str, Reader] = {
    "GET users/": _users,
    "GET users/myself/": _myself,
    "GET users/<me>/": _user,
    "GET users/<user>/": _user,
    "GET users/groups/": _groups,
    "GET users/trainings/": _trainings,
    "GET groups/": _groups,
    "GET tokens/": _tokens,
    "GET clients/": _clients,
    "GET clients/invitations/": _invited,
    "GET models/": _models,
    "GET models/<model>/metrics/": _reporters,
    **{f"GET models/<{name}>/metrics/": _came_with(name) for name in ("local", "peers", "dealt")},
    "GET trainings/": _trainings,
    "GET trainings/<training>/models/": _of_training("model", "local", "peers"),
    "GET trainings/<training>/models/latest/": _of_training("model", "local", "peers"),
    "GET trainings/<chain>/models/": _of_training("chain-model", "chain-local", "dealt"),
    "GET trainings/<chain>/models/latest/": _of_training("chain-model", "chain-local", "dealt"),
    "GET trainings/<training>/rounds/<round>/": _told_of,
    "GET trainings/<training>/events/": _happened_to,
}
