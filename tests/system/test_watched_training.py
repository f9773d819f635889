"""A real server and real clients, watched: what Prometheus and the log tell of a training is what happened."""

import json
import threading
from collections import Counter
from contextlib import ExitStack, contextmanager

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hansa.client import Api, TrainResult, Transport
from hansa.formats.safetensors import write
from hansa.protocol.trainings import TrainingCreate
from support.serving import PASSWORD, furnish, serving
from support.working import working
from system.processes import eventually

ROUNDS = 2
NAMES = ("anna", "bert", "clara")
PARAMS = 40_000


class AddOne:
    def train(self, params, config):
        params["w"] += 1
        return TrainResult(params, num_examples=10, metrics={"loss": 1.0})

    def evaluate(self, params, config):
        return {"num_examples": 10, "loss": 1.0}


class Log:
    """What a server writes, read as it comes: a full pipe would stop it."""

    def __init__(self, process):
        self.lines = []
        self._thread = threading.Thread(target=lambda: self.lines.extend(process.stdout), daemon=True)
        self._thread.start()

    def whole(self):
        """All of it, once the server has ended."""
        self._thread.join(20)
        return [json.loads(line) for line in self.lines]


@contextmanager
def at_work(url, tokens, folder):
    with ExitStack() as stack:
        for name, token in zip(NAMES, tokens, strict=True):
            stack.enter_context(working(url, token, folder / name, AddOne(), wait=20))
        yield


def scraped(server):
    text = httpx.get(f"{server.url}/metrics").raise_for_status().text
    families = text_string_to_metric_families(text)
    return Counter(
        {
            (
                sample.name,
                *(f"{name}={value}" for name, value in sorted(sample.labels.items()) if name != "le"),
            ): sample.value
            for family in families
            for sample in family.samples
            if not sample.name.endswith("_bucket")
        }
    )


def trained(api, tmp_path):
    """A training of three clients from its beginning to its end; its id."""
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        write(file, {"w": np.zeros(PARAMS, np.float32)}, frozenset())
    model = api.create_model(path, name="secret-name").model_id
    plan = {"rounds": ROUNDS, "seed": 1, "evaluation": {"every": 1}}
    training = api.create_training(TrainingCreate(model_id=model, plan=plan, clients=list(NAMES))).training_id
    api.start(training)
    record = api.training(training)
    while record.status == "ongoing":
        record = api.training(training, wait=30, revision=record.revision)
    assert record.status == "completed", record.reason
    return training


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """Before, after, the log, and the training's id."""
    folder = tmp_path_factory.mktemp("watched")
    furnish(folder / "home")
    with serving(folder / "home", settings={"HANSA_LOG_FORMAT": "json"}) as server:
        log = Log(server.process)
        with Transport(server.url, basic=("root", PASSWORD)) as transport:
            api = Api(transport)
            tokens = [api.enroll(api.invite(name).code).token for name in NAMES]
            before = scraped(server)
            with at_work(server.url, tokens, folder):
                training = trained(api, folder)
                after = scraped(server)
            eventually(lambda: not scraped(server)["hansa_clients_waiting",], "the server sees that they have gone")
        server.stop()
        return before, after, log.whole(), training


def test_prometheus_sees_what_has_happened(watched):
    before, after, _, _ = watched
    grown = after - before

    assert grown["hansa_updates_accepted_total", "kind=train"] == ROUNDS * len(NAMES)
    assert grown["hansa_updates_accepted_total", "kind=evaluate"] == ROUNDS * len(NAMES)
    assert grown["hansa_rounds_ended_total", "how=done"] == ROUNDS
    assert grown["hansa_aggregation_seconds_count", "kind=train"] == ROUNDS
    assert after["hansa_trainings", "status=completed"] == 1
    assert after["hansa_rounds", "state=done"] == ROUNDS
    assert after["hansa_database_up",] == 1
    assert sum(value for (name, *_), value in grown.items() if name == "hansa_updates_refused_total") == 0
    assert grown["hansa_leases_lost_total",] == 0

    model, updates = PARAMS * 4, ROUNDS * len(NAMES)
    upload = "route=api/tasks/<uuid:task_id>/update/<str:digest>/"
    download = "route=api/models/<uuid:model_id>/versions/<int:number>/params/"
    assert model * updates < grown["hansa_http_received_bytes_total", upload] < (model + 2000) * updates
    assert model * updates < grown["hansa_aggregation_read_bytes_total",] < (model + 2000) * updates
    assert grown["hansa_http_sent_bytes_total", download] > model * updates
    assert grown["hansa_http_request_seconds_count", "method=PUT", upload, "status=2xx"] == updates


def test_every_line_of_the_log_is_an_object_and_none_tells_a_name(watched):
    _, _, log, _ = watched

    assert len(log) > 30
    for line in log:
        assert {"time", "level", "logger", "message"} <= line.keys()
        assert line["level"] in ("debug", "info"), line
        assert "secret-name" not in json.dumps(line)


def test_a_round_can_be_followed_through_the_log(watched):
    _, _, log, training = watched
    first = [line for line in log if line.get("training") == training and line.get("round") == 1]

    assert len({line["client"] for line in first if line["logger"] == "hansa.access"}) == len(NAMES)
    own = [line["message"] for line in first if line["logger"] == "hansa.server.trainings.orchestrator"]
    assert [any(word in message for message in own) for word in ("begins", "is aggregated")] == [True, True]


def test_a_clients_task_is_one_trace_from_the_question_for_work_to_the_receipt(watched):
    _, _, log, training = watched
    reports = [line for line in log if line.get("route", "").endswith("/report/") and line["training"] == training]
    assert len({line["trace_id"] for line in reports}) == len(reports) == 2 * ROUNDS * len(NAMES)

    (report, *_) = reports
    trace = [line for line in log if line.get("trace_id") == report["trace_id"]]
    assert {line["client"] for line in trace} == {report["client"]}
    assert {line["task"] for line in trace if "task" in line} == {report["task"]}
    assert trace[0]["route"] == "api/tasks/next/"
    assert len({line["request_id"] for line in trace}) == len(trace) >= 3
