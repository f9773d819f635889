"""A server in memory, as far as the command line can see it, with records that look like real ones."""

from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from msgspec.structs import replace

from hansa.client.errors import CredentialsRefused
from hansa.protocol.accounts import ClientSummary, Enrolled, Invitation, Token, TokenCreated, UserSummary
from hansa.protocol.models import ArrayInfo, Detail, Model, ModelCreated, ModelVersion
from hansa.protocol.trainings import (
    Participant,
    Round,
    RoundMetrics,
    Spread,
    TaskInfo,
    TrainingCreated,
    TrainingDetail,
)
from hansa.rounds.plan import parse, to_data

TOKEN = "0123456789abcdef" * 2 + "01234567"
URL = "http://127.0.0.1:9"
NOON = "2026-01-02T12:00:00+00:00"


def uid(number: int) -> str:
    """A different uuid for every number, the same every time; different from the first digit on."""
    return str(UUID(f"{number:02x}" * 4 + "0000400080000000" + f"{number:08x}"))


def a_model(number: int = 1, **changes: object) -> Model:
    fields = {
        "id": uid(number),
        "owner": uid(9),
        "name": "digits",
        "description": "",
        "kind": "global",
        "round": 3,
        "version": 3,
        "num_params": 9930,
        "size": 40_321,
        "arrays": [ArrayInfo(name="0.weight", dtype="float32", shape=[16, 1, 3, 3], kind="param")],
        "training": None,
        "created_at": NOON,
    }
    return Model(**{**fields, **changes})


def a_training(number: int = 1, **changes: object) -> TrainingDetail:
    fields = {
        "id": uid(number),
        "name": "first",
        "model": uid(1),
        "actor": uid(9),
        "status": "ongoing",
        "state": "O",
        "reason": "1 of 2 clients have reported; 1 at work, 0 not yet come",
        "round": 2,
        "rounds": 3,
        "rounds_done": 1,
        "version": 1,
        "plan": to_data(parse({"rounds": 3, "client": {"epochs": 3, "client_lr": 0.05}})),
        "seed": 7,
        "participants": [uid(21), uid(22)],
        "clients": [
            Participant(id=uid(21), username="anna", ordinal=0, active=True, last_seen=NOON),
            Participant(id=uid(22), username="bert", ordinal=1, active=True, last_seen=None),
        ],
        "revision": 1,
        "created_at": NOON,
        "started_at": NOON,
        "finished_at": None,
        "last_update": NOON,
        "target_num_updates": 3,
        "aggregation_method": "FedAvg",
        "uncertainty_method": "NONE",
        "options": {},
        "metric_names": [],
        "locked": False,
        "local_models_arrived": 1,
        "local_models_expected": 2,
    }
    return TrainingDetail(**{**fields, **changes})


def a_round(number: int = 1, **changes: object) -> Round:
    fields = {
        "number": number,
        "attempt": 1,
        "state": "done",
        "reason": "2 of 2 clients have evaluated the version",
        "base_version": number - 1,
        "version": number,
        "cohort": 2,
        "reported": 2,
        "bytes": 80_642,
        "opened_at": "2026-01-02T12:00:00+00:00",
        "closed_at": "2026-01-02T12:00:02+00:00",
        "aggregated_at": "2026-01-02T12:00:02.5+00:00",
        "done_at": "2026-01-02T12:00:03.5+00:00",
        "tasks": [],
    }
    return Round(**{**fields, **changes})


def a_task(client: int, **changes: object) -> TaskInfo:
    fields = {
        "id": uid(client + 100),
        "client": uid(client),
        "username": "anna",
        "ordinal": 0,
        "kind": "train",
        "state": "reported",
        "reason": "",
        "leased_at": NOON,
        "uploaded_at": NOON,
        "reported_at": NOON,
        "num_examples": 120,
        "weight": 0.6,
        "digest": "0" * 64,
        "norm": 1.25,
        "verdict": "accepted",
        "bytes": 40_321,
        "metrics": {"loss": 0.5},
    }
    return TaskInfo(**{**fields, **changes})


def some_metrics(number: int, loss: float, accuracy: float) -> RoundMetrics:
    def around(value: float) -> Spread:
        return Spread(mean=value, minimum=value - 0.05, maximum=value + 0.05, clients=2)

    spreads = {"loss": around(loss), "accuracy": around(accuracy)}
    return RoundMetrics(round=number, version=number, train={"loss": around(loss)}, evaluate=spreads)


class FakeApi:
    """Answers from lists, and writes down what it was asked to change."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.all_models = [a_model()]
        self.all_trainings = [a_training()]
        self.all_clients = [
            ClientSummary(id=uid(21), username="anna", enrolled=True, last_seen=NOON),
            ClientSummary(id=uid(22), username="bert", enrolled=False, last_seen=None),
        ]
        self.all_tokens = [Token(id=uid(31), name="laptop", created_at=NOON, expires_at=None)]
        self.all_rounds = [a_round(1), a_round(2, state="collecting", reported=1, version=None, done_at=None)]
        self.all_metrics = [some_metrics(1, 0.5, 0.9)]
        self.all_tasks = [
            a_task(21),
            a_task(22, username="bert", ordinal=1, state="failed", reason="TypeError: no", weight=None),
        ]
        self.refuses = False

    # what is read

    def models(self):
        return [replace(model, arrays=[]) for model in self.all_models]  # as the real one: they may be very many

    def model(self, model):
        return next(each for each in self.all_models if each.id == model)

    def versions(self, model):
        return [
            ModelVersion(model=model, number=0, digest="a" * 64, size=40_321, parent=None, created_at=NOON),
            ModelVersion(model=model, number=1, digest="b" * 64, size=40_321, parent=f"{model}/0", created_at=NOON),
        ]

    def trainings(self):
        return self.all_trainings

    def training(self, training, *, wait=0, revision=None):
        return next(each for each in self.all_trainings if each.id == training)

    def rounds(self, training):
        return self.all_rounds

    def round(self, training, number):
        return a_round(number, tasks=self.all_tasks)

    def metrics(self, training):
        return self.all_metrics

    def clients(self):
        return self.all_clients

    def users(self):
        people = [(uid(9), "alice"), *((client.id, client.username) for client in self.all_clients)]
        return [UserSummary(id=each, username=name, first_name="", last_name="") for each, name in people]

    def tokens(self):
        return self.all_tokens

    # what is changed

    def create_model(self, path, *, name, description="", buffers=()):
        self.asked.append(("create_model", Path(path).read_bytes(), name, description, tuple(buffers)))
        return ModelCreated(detail="made", model_id=uid(5))

    def delete_model(self, model):
        return self._did("delete_model", model)

    def download(self, model, number, path):
        Path(path).write_bytes(b"version")
        self.asked.append(("download", model, number))
        return self.versions(model)[0]

    def create_training(self, training):
        self.asked.append(("create_training", training))
        return TrainingCreated(detail="made", training_id=uid(6), model_id=training.model_id)

    def start(self, training):
        return self._did("start", training)

    def leave(self, training):
        self._did("leave", training)

    def pause(self, training):
        return self._did("pause", training)

    def resume(self, training):
        return self._did("resume", training)

    def cancel(self, training):
        return self._did("cancel", training)

    def delete_training(self, training):
        return self._did("delete_training", training)

    def add_clients(self, training, clients):
        return self._did("add_clients", training, tuple(clients))

    def remove_clients(self, training, clients):
        return self._did("remove_clients", training, tuple(clients))

    def create_token(self, name="", expires_in_seconds=None):
        if self.refuses:
            raise CredentialsRefused(401, "authentication_failed", "Wrong user name or password.")
        self.asked.append(("create_token", name, expires_in_seconds))
        return TokenCreated(id=uid(32), name=name, created_at=NOON, expires_at=None, token=TOKEN)

    def revoke_token(self, token):
        self.asked.append(("revoke_token", token))

    def invite(self, username, expires_in_seconds=86400.0):
        self.asked.append(("invite", username, expires_in_seconds))
        return Invitation(username=username, code="CODE-1234", expires_at="2026-01-03T12:00:00+00:00")

    def enroll(self, code):
        self.asked.append(("enroll", code))
        return Enrolled(id=uid(23), username="clara", token=TOKEN)

    def _did(self, what, *of):
        self.asked.append((what, *of))
        return Detail(detail=f"{what} is done")


class FakeServer:
    """Stands in for `session.connected` and `session.anonymous`; remembers who came, and with what."""

    def __init__(self, api: FakeApi) -> None:
        self.api = api
        self.came: list[object] = []

    @contextmanager
    def connected(self, target):
        self.came.append(target)
        yield self.api

    @contextmanager
    def anonymous(self, url, ca, *, basic=None):
        self.came.append((url, ca, basic))
        self.api.refuses = basic is not None and basic[1] != "right"
        yield self.api
